"""The joint problems of ``latentllm``, one module each."""
