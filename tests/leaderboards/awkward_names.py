"""Names made to break out of every format, and a board on which everything is called so."""

from __future__ import annotations

from pathlib import Path

from harness.records.store import Problem
from leaderboards.board import board
from tests.helpers.board_records import answers, dense, make_record

AWKWARD = [
    "<script>alert('x')</script>",
    "a|b\\|c",
    "`code` ``two``",
    "line\none\r\n\ntwo\t| x |",
    "\"quoted\" 'too'",
    "[text](http://example.org) ![x](y)",
    "**bold** _em_ __a__ ~~no~~ $x$ # h",
    "&lt;b&gt; &amp;",
    "x" * 300,
    "模型-Ü-é",
    "right\u202eto left\x00\x1b[31m",
    "\\",
    "- item",
    "1. item",
    '=HYPERLINK("x")',
    "-->]]></script><script>alert(1)//",
    "\\input{x} % & # _ ^ {",
    "../../etc/passwd",
]


def board_named(name: str):
    return board(
        [
            answers(model=name, method="dense", slices={name: 0.5}, counts={name: 3}),
            answers(model=name, label=name, slices={"NAT": 0.5}, metric=name, task=name),
            dense(model=name),
            make_record(
                model=name,
                label=name,
                task=name,
                notes=(name,),
                data=name,
                fingerprint=name,
                unit=name,
                metric=name,
                run_id=name,
                task_options={name: name},
            ),
            make_record(2.0, label=name, model=name, seed=1, run_id=name),
            make_record(3.0, label=name, model=name, seed=2, run_id=name),
            make_record(status="failed", error=name, method=name),
            Problem(Path("x") / name.replace("/", "-").replace("\0", ""), name),
        ]
    )
