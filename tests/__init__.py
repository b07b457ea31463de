"""The tests lie as the package does; what several folders need is in ``tests.helpers``."""
