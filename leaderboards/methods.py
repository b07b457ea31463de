"""Methods by their labels, and the order in which they stand."""

from __future__ import annotations

import re

ORDER = ("svd", "asvd-hessian", "asvd-l1", "asvd-l2", "asvd-cov", "asvd-rootcov", "latentllm")


def method_of(label: str) -> str:
    """The method's own name, without its options and its scope."""
    return re.split(r"[\[(]", label, maxsplit=1)[0].strip()


def method_order(label: str) -> tuple[int, str]:
    """Sorts labels: the paper's methods in their own order, then others by alphabet."""
    method = method_of(label)
    return (ORDER.index(method) if method in ORDER else len(ORDER), label)
