"""``python -m harness.sweep.worker [DEVICE]``: do the one cell that standard input describes.

The job is the first line. Standard input then stays open for as long as the parent lives; its
end is the order to stop. The answer is the only line on standard output; whatever libraries
print goes to standard error.
"""

from __future__ import annotations

import os
import sys
import threading


def main() -> None:
    """Do the job; failures are part of the answer."""
    answer = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    line = sys.stdin.buffer.readline()
    threading.Thread(target=_end_with_the_parent, daemon=True).start()
    # Only now: the import of torch takes seconds, in which the parent may die.
    from harness.sweep.cell import do_job  # noqa: PLC0415

    answer.write(do_job(line, sys.argv[1] if len(sys.argv) > 1 else None) + "\n")
    answer.close()
    # Whatever a library does as the interpreter ends must not undo the answer.
    os._exit(0)


def _end_with_the_parent() -> None:
    # Not through sys.stdin: its lock would be held when the interpreter ends.
    while os.read(0, 4096):
        pass
    os._exit(1)


if __name__ == "__main__":
    main()
