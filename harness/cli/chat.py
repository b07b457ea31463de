"""``harness chat``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from harness.cli.options import InRange, add_offload
from harness.errors import HarnessError, UsageError
from harness.records.limits import Count, Seed, Temperature
from harness.records.spec import Dtype

if TYPE_CHECKING:
    from PIL.Image import Image

    from harness.models.conversation import Conversation


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which model, and how it answers."""
    add = parser.add_argument
    add("model", help="folder of a saved model, or any model reference")
    add(
        "--image",
        nargs="+",
        type=Path,
        metavar="FILE",
        default=[],
        help="shown with the first turn",
    )
    add("--system", metavar="TEXT", help="what the model is told first")
    add(
        "--temperature",
        action=InRange,
        hint=Temperature,
        default=0.0,
        help="of sampling; 0 takes the most probable",
    )
    add(
        "--max-new-tokens",
        action=InRange,
        hint=Count,
        default=512,
        help="tokens at which an answer ends that does not end by itself",
    )
    add("--seed", action=InRange, hint=Seed, default=0, help="of sampling")
    add(
        "--device",
        default=argparse.SUPPRESS,
        help="torch device (default cuda if there is one, else cpu)",
    )
    add_offload(parser)
    add(
        "--dtype",
        choices=get_args(Dtype),
        default=argparse.SUPPRESS,
        help="of weights and activations (default as saved)",
    )
    add(
        "--no-streamline",
        action="store_true",
        help="run a compressed model as stored, as evaluations do; slower, equal up to rounding",
    )


def execute(arguments: argparse.Namespace) -> int:
    """Answer each line of standard input; ``/clear`` starts anew, ``/exit`` ends."""
    import torch  # noqa: PLC0415

    from harness.checkpoints.load import load_model  # noqa: PLC0415
    from harness.cli.display import quiet_libraries  # noqa: PLC0415
    from harness.cli.request import placement  # noqa: PLC0415
    from harness.models.conversation import Conversation  # noqa: PLC0415
    from harness.runtime.streamline import streamline  # noqa: PLC0415

    images = [_image(path) for path in arguments.image]
    quiet_libraries()
    given = vars(arguments)
    device = placement(given.get("device"))
    subject = load_model(arguments.model, given.get("dtype"), device, offload=arguments.offload)
    if not (arguments.no_streamline or arguments.offload):  # blocks on disk run as they are stored
        streamline(subject.model, subject.family)
    conversation = Conversation(
        subject, arguments.system, arguments.max_new_tokens, arguments.temperature
    )
    torch.manual_seed(arguments.seed)
    if not conversation.has_template:
        sys.stderr.write("this model has no chat template: it continues each text\n")
    for line in _lines():
        if line == "/exit":
            break
        if line == "/clear":
            conversation.clear()
        elif line:
            _answer(conversation, line, images)
            images = []
    return 0


def _answer(conversation: Conversation, text: str, images: list[Image]) -> None:
    """Print the answer as it forms. A person may interrupt it and go on; a pipe may not."""
    try:
        conversation.answer(text, _show, images)
    except KeyboardInterrupt:
        if not sys.stdin.isatty():
            raise
    except HarnessError as error:
        if not sys.stdin.isatty():
            raise
        sys.stderr.write(f"{error}\n")
    _show("\n")


def _lines() -> Iterator[str]:
    """Lines of standard input, asked for where a person types them."""
    if not sys.stdin.isatty():
        yield from (line.strip() for line in sys.stdin)
        return
    sys.stderr.write("/clear starts anew, /exit or Ctrl-D ends, Ctrl-C stops an answer\n")
    while True:
        try:
            yield input("> ").strip()
        except (EOFError, KeyboardInterrupt):
            _show("\n")
            return


def _show(piece: str) -> None:
    sys.stdout.write(piece)
    sys.stdout.flush()


def _image(path: Path) -> Image:
    from PIL import Image, UnidentifiedImageError  # noqa: PLC0415

    try:
        with Image.open(path) as opened:
            return opened.convert("RGB")
    except FileNotFoundError as error:
        raise UsageError(f"there is no image {path}") from error
    except (UnidentifiedImageError, OSError) as error:
        raise UsageError(f"{path} is no image that can be read ({error})") from error
