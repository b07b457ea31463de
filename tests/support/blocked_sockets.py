"""An interpreter, and all that it starts, in which every attempt to reach a network fails.

An audit hook sees the attempts below all Python libraries; each is refused and written down.
"""

from __future__ import annotations

import os
from pathlib import Path

SITECUSTOMIZE = """
import os, socket, sys

REACHES = {"socket.connect", "socket.getaddrinfo", "socket.gethostbyname",
           "socket.gethostbyaddr", "socket.sendto", "socket.sendmsg"}

def refuse(event, arguments):
    if event not in REACHES:
        return
    if event.startswith(("socket.connect", "socket.send")):
        if arguments[0].family not in (socket.AF_INET, socket.AF_INET6):
            return
    with open(os.environ["SOCKET_LOG"], "a") as log:
        log.write(f"{sys.argv[:3]} {event} {arguments[1:]}\\n")
    raise OSError(f"{event} is refused")

sys.addaudithook(refuse)
open(os.environ["SOCKET_LOG"] + ".guarded", "a").write(f"{os.getpid()}\\n")
"""


class Blocked:
    """``attempts`` to reach a network, and how many interpreters were ``guarded``."""

    def __init__(self, folder: Path) -> None:
        site = folder / "site"
        site.mkdir()
        (site / "sitecustomize.py").write_text(SITECUSTOMIZE)
        self._log = folder / "sockets.log"
        path = os.pathsep.join(filter(None, [str(site), os.environ.get("PYTHONPATH")]))
        forced = {"HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "TRANSFORMERS_OFFLINE", "PIP_NO_INDEX"}
        self.environment = {
            **{name: value for name, value in os.environ.items() if name not in forced},
            "PYTHONPATH": path,
            "SOCKET_LOG": str(self._log),
            "HARNESS_CACHE": str(folder / "cache"),
            "HF_HOME": str(folder / "hub"),
            "PIP_RETRIES": "0",
            "OMP_NUM_THREADS": "1",
        }

    @property
    def attempts(self) -> list[str]:
        return self._log.read_text().splitlines() if self._log.exists() else []

    @property
    def guarded(self) -> int:
        started = Path(f"{self._log}.guarded")
        return len(started.read_text().splitlines()) if started.exists() else 0
