"""Commands of other packages: beside ours, broken, and of a name that is ours."""

from __future__ import annotations

import re
from pathlib import Path

import harness
from tests.helpers.plugin_packages import install

COUNT = """
from harness.plugins.command import Command

def add_arguments(parser):
    parser.add_argument("--upto", type=int, default=3, help="the last number")

def execute(arguments):
    print(*range(1, arguments.upto + 1))
    return 0

command = Command("count aloud", add_arguments, execute)
"""


def test_a_third_partys_command_is_one_like_ours(cli, site):
    entries = {"harness.commands": {"count": "acme_count:command"}}
    install(site, "acme", entries, {"acme_count": COUNT})
    assert cli("count", "--upto", "4") == (0, "1 2 3 4\n", "")
    assert "count aloud" in cli().out
    assert "did you mean --upto" in cli("count", "--upot", "4").err
    assert "did you mean count" in cli("cuont").err


def test_a_broken_command_hides_no_other(cli, site):
    entries = {"harness.commands": {"broken": "acme_broken:command"}}
    install(site, "acme", entries, {"acme_broken": "1 / 0"})
    listed = cli()
    assert listed.code == 0
    assert "ZeroDivisionError" in listed.out
    assert "rank the recorded results" in " ".join(listed.out.split())
    outcome = cli("broken")
    assert outcome.code == 2
    assert "command 'broken' of acme 1.0 does not load: ZeroDivisionError" in outcome.err
    assert cli("completion", "bash").code == 0


def test_a_command_of_a_name_that_is_ours_is_refused(cli, site):
    install(site, "acme", {"harness.commands": {"run": "acme_run:command"}})
    outcome = cli()
    assert outcome.code == 2
    assert "acme 1.0 provides the command 'run'" in outcome.err
    assert "uninstall that package" in outcome.err


def test_harness_imports_nothing_of_the_leaderboards():
    for path in Path(harness.__file__).parent.rglob("*.py"):
        assert not re.search(
            r"^\s*(from|import) leaderboards\b", path.read_text("utf-8"), re.MULTILINE
        ), path
