"""Any image task of lmms-eval, by name or from a local YAML file: ``lmms-eval:NAME``.

Source: Zhang et al., https://github.com/EvolvingLMMs-Lab/lmms-eval.
"""

from tasks.lmms_eval.task import plugin

__all__ = ["plugin"]
