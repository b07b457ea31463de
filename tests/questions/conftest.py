"""The tiny models of the tests of tasks, and no network."""

from tests.tasks.conftest import offline, one_thread, subject, tokenizer

__all__ = ["offline", "one_thread", "subject", "tokenizer"]
