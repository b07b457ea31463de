"""TextVQA: questions about text in photographs.

Source: Singh et al., https://arxiv.org/abs/1904.08920.
"""

from __future__ import annotations

from harness.plugin import HubQuestions, HubText, QuestionTask, ReadingConfig, reading

_SOURCE = HubQuestions(
    HubText(
        "lmms-lab/textvqa",
        splits={"calibration": "train", "evaluation": "validation"},
        # Without a choice of files all three splits would be fetched, many gigabytes.
        files={
            "calibration": "**/train-*.parquet",
            "evaluation": "**/validation-*.parquet",
        },
    )
)

plugin = QuestionTask(
    summary="VQA accuracy on TextVQA's validation split",
    config=ReadingConfig,
    source=lambda _: _SOURCE,
    protocol=reading,
)
