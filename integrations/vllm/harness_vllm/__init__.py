"""vLLM serves models that harness has compressed, in factor form."""
