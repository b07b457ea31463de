"""How an lmms-eval task wants its answers generated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from harness.plugin import UsageError

SAMPLING = ("temperature", "top_p", "top_k")
GREEDY = ("num_beams", "repetition_penalty")
NO_MATTER = ("image_aspect_ratio",)
"""Meant for one wrapper of lmms-eval's that prepares images in its own way."""


@dataclass(frozen=True)
class Settings:
    """Generation settings of one task.

    ``stop`` are texts that end an answer. ``options`` are keyword arguments of
    ``harness.models.generation``, empty where the task is greedy. ``limit_is_ours`` where the
    task leaves ``max_new_tokens`` open.
    """

    max_new_tokens: int
    limit_is_ours: bool
    stop: tuple[str, ...] = ()
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def sampled(self) -> bool:
        """Whether answers are drawn at random."""
        return bool(self.options.get("do_sample"))


def settings_of(task: Any, max_new_tokens: int) -> Settings:
    """What ``task`` says, with ``max_new_tokens`` where it says nothing.

    Raises:
        UsageError: it asks for something else than these.
    """
    given = task.get_config("generation_kwargs") or {}
    return settings_in(given, task.task_name, task.get_config("fewshot_delimiter"), max_new_tokens)


def settings_in(
    generation_kwargs: Mapping[str, Any], name: str, delimiter: str, max_new_tokens: int
) -> Settings:
    """What ``generation_kwargs`` of the task ``name`` say; see ``settings_of``.

    ``delimiter`` stands between its few-shot examples.
    """
    given = dict(generation_kwargs)
    until, own_limit = given.pop("until", None), given.pop("max_new_tokens", None)
    unknown = given.keys() - {*SAMPLING, *GREEDY, *NO_MATTER, "do_sample"}
    if unknown:
        raise UsageError(
            f"lmms-eval task '{name}' asks for generation with {', '.join(unknown)}, "
            "which is not supported"
        )
    stop = [until] if isinstance(until, str) else list(until or ())
    # lmms-eval fills an absent "until" with what stands between few-shot examples.
    if stop == [delimiter]:
        stop = []
    return Settings(
        max_new_tokens=int(own_limit or max_new_tokens),
        limit_is_ours=own_limit is None,
        stop=tuple(text for text in stop if text),
        options=_options(given),
    )


def _options(given: dict[str, Any]) -> dict[str, Any]:
    temperature = float(given.get("temperature") or 0)
    # Temperature 0 is greedy, and greedy at any temperature is greedy.
    sampled = given.get("do_sample", temperature > 0) and given.get("temperature") != 0
    names = (*GREEDY, *SAMPLING) if sampled else GREEDY
    options = {name: given[name] for name in names if given.get(name)}
    if options.get("num_beams") == 1:
        del options["num_beams"]
    return {"do_sample": True, **options} if sampled else options
