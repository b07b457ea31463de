"""``python -m harness.models.template_worker``: render chat templates, within bounds of memory.

Each line of standard input is a request and each of standard output its answer, after a first one
that says that the worker is ready. See ``harness.models.chat_template``.
"""

from __future__ import annotations

import json
import os
import resource
import sys
from pathlib import Path

MEMORY = 1 << 29
"""Bytes that rendering may take."""
LONGEST = 1 << 24
"""Characters of a prompt."""


def main() -> None:
    """Answer until standard input ends."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    sys.modules["torch"] = None  # type: ignore[assignment] # is not needed, and seconds to import
    from transformers.utils.chat_template_utils import render_jinja_template  # noqa: PLC0415

    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    limit = pages * resource.getpagesize() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    answers.write("{}\n")
    answers.flush()
    for line in sys.stdin:
        try:
            text = render_jinja_template(**json.loads(line))[0][0]
            if len(text) > LONGEST:
                raise ValueError(f"it makes a prompt of {len(text)} characters")  # noqa: TRY301
            answer = {"text": text}
        except MemoryError:
            answer = {"error": f"it takes more than {MEMORY >> 20} MiB of memory"}
        # Whatever a template brings about is for the process that asked.
        except Exception as error:  # noqa: BLE001
            answer = {"error": str(error) or type(error).__name__}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
