"""Any task of EleutherAI's lm-evaluation-harness, by name or from a local YAML file.

Source: Gao et al., https://github.com/EleutherAI/lm-evaluation-harness.
"""

from tasks.lm_eval.task import plugin

__all__ = ["plugin"]
