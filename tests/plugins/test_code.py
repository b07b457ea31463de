"""What names the code of a plugin: a version, and a hash where no version vouches for it."""

from __future__ import annotations

import sys

import pytest

from harness.compression.compressor import compressors
from harness.evaluation.task import tasks
from harness.families.family import families
from harness.plugins.code import _plugin_code
from harness.plugins.registry import Registry, _entry_points
from tests.helpers.plugin_packages import install

GROUP = "harness.tests"
REGISTRY = Registry(GROUP, "shape", object)
SOURCE = "from acme_help import SIDES\nplugin = SIDES\n"


@pytest.fixture
def place(tmp_path, monkeypatch):
    """``place(name)``: a folder of that name for packages."""

    def make(name):
        monkeypatch.syspath_prepend(tmp_path / name)
        return tmp_path / name

    _entry_points.cache_clear()
    yield make
    _entry_points.cache_clear()
    _plugin_code.cache_clear()


def code(site, helper="SIDES = 4\n", version="1.0"):
    modules = {"acme_square": SOURCE, "acme_help": helper}
    install(site, "acme", {GROUP: {"square": "acme_square:plugin"}}, modules, version)
    _entry_points.cache_clear()
    _plugin_code.cache_clear()
    return REGISTRY.code("square")


def test_ours_have_none():
    for registry in (compressors, tasks, families):
        assert {registry.code(name) for name in registry.names()} == {""}
    assert compressors.code("no-such-method") == ""


def test_an_installed_package_goes_by_its_version(place):
    assert code(place("site-packages")) == "acme 1.0"
    assert "acme_square" not in sys.modules


def test_local_files_go_by_their_content_and_that_of_what_they_import(place):
    site = place("project")
    first = code(site)
    assert first.startswith("acme 1.0, source ")
    again = site / "acme-1.0.dist-info"
    for file in again.iterdir():
        file.unlink()
    again.rmdir()
    assert code(site, helper="SIDES = 5\n") != first
