"""What a hostile input must not bring about, seen below all Python libraries."""

from __future__ import annotations

import os
import resource
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SECONDS = 10
MEMORY = 2 << 30
FORBIDDEN = frozenset(
    {
        "socket.connect",
        "socket.getaddrinfo",
        "subprocess.Popen",
        "os.system",
        "os.exec",
        "os.posix_spawn",
        "os.fork",
    }
)
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT


class HangError(BaseException):
    """More than ten seconds."""


class _Hook:
    """An audit hook, which cannot be taken away again; it is on only within ``watched``."""

    def __init__(self) -> None:
        self.folders: tuple[str, ...] | None = None
        self.outside = ""
        self.seen: list[str] = []

    def __call__(self, event: str, arguments: tuple[object, ...]) -> None:
        if self.folders is None:
            return
        if event in FORBIDDEN:
            self.seen.append(f"{event} {arguments}")
        elif event == "open" and isinstance(arguments[0], str | bytes | os.PathLike):
            self._opened(os.path.realpath(os.fsdecode(arguments[0])), arguments[1], arguments[2])

    def _opened(self, path: str, mode: object, flags: object) -> None:
        if path.startswith(self.outside):
            self.seen.append(f"opened {path}")
        written = isinstance(flags, int) and flags & _WRITES
        nameless = path == tempfile.gettempdir()  # a file without a name, gone with its process
        if written and not nameless and not path.startswith(self.folders or ()):
            self.seen.append(f"written {path} {mode}")


HOOK = _Hook()
sys.addaudithook(HOOK)


@contextmanager
def watched(*folders: Path, outside: Path) -> Iterator[None]:
    """No hang, no more memory than bounded, nothing run, reached, written or read elsewhere."""

    def hang(*_: object) -> None:
        raise HangError

    pages = int(Path("/proc/self/statm").read_text().split()[0])
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MEMORY, hard))
    before = signal.signal(signal.SIGALRM, hang)
    signal.alarm(SECONDS)
    HOOK.outside, HOOK.seen = str(outside), []
    HOOK.folders = ("/dev", "/proc", *(os.path.realpath(folder) for folder in folders))
    try:
        yield
    finally:
        HOOK.folders = None
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
        resource.setrlimit(resource.RLIMIT_AS, (hard, hard))
    assert not HOOK.seen, HOOK.seen
