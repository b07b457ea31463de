"""Plugins from entry points: ours, a third party's, broken and clashing ones."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from importlib.metadata import version

import pytest

from harness.errors import UsageError
from harness.plugins.registry import Registry, _entry_points
from tests.helpers.plugin_packages import install

GROUP = "harness.tests"


@dataclass
class Shape:
    sides: int


REGISTRY = Registry(GROUP, "shape", Shape)
MODULE = """
from dataclasses import dataclass
from tests.plugins.test_registry import Shape
plugin = Shape({})
"""


@pytest.fixture
def site(tmp_path, monkeypatch):
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    known = set(sys.modules)
    _entry_points.cache_clear()
    yield folder
    _entry_points.cache_clear()
    for module in set(sys.modules) - known:
        if getattr(sys.modules[module], "__file__", "").startswith(str(folder)):
            del sys.modules[module]


def test_plugins_of_a_package_are_found_and_loaded(site):
    modules = {"acme_square": MODULE.format(4), "acme_triangle": MODULE.format(3)}
    entries = {"square": "acme_square:plugin", "triangle": "acme_triangle:plugin"}
    install(site, "acme", {GROUP: entries}, modules)
    assert REGISTRY.names() == ["square", "triangle"]
    assert REGISTRY.origin("square") == "acme 1.0"
    assert not {"acme_square", "acme_triangle"} & sys.modules.keys()
    assert REGISTRY.get("triangle").sides == 3
    assert "acme_square" not in sys.modules


def test_a_name_that_two_packages_claim_is_refused_naming_both(site):
    install(site, "acme", {GROUP: {"square": "acme_square:plugin"}})
    install(site, "zeta", {GROUP: {"square": "zeta_square:plugin"}}, version="2.1")
    with pytest.raises(UsageError) as caught:
        REGISTRY.names()
    message = str(caught.value)
    assert "'square'" in message
    assert "acme 1.0" in message
    assert "zeta 2.1" in message
    assert "uninstall one of them" in message
    assert Registry("harness.families", "family", object).names()


def test_the_same_entry_point_of_two_packages_is_still_two_claims(site):
    for package in ("acme", "zeta"):
        install(site, package, {GROUP: {"square": "shared:plugin"}})
    with pytest.raises(UsageError, match="two packages provide 'square'"):
        REGISTRY.get("square")


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("import absent_library", "ModuleNotFoundError: No module named 'absent_library'"),
        ("plugin = ", "SyntaxError"),
        ("1 / 0", "ZeroDivisionError"),
        ("", "AttributeError"),
    ],
)
def test_a_broken_plugin_is_listed_and_fails_only_when_used(site, source, why):
    modules = {"acme_broken": source, "acme_square": MODULE.format(4)}
    entries = {"broken": "acme_broken:plugin", "square": "acme_square:plugin"}
    install(site, "acme", {GROUP: entries}, modules)
    assert REGISTRY.names() == ["broken", "square"]
    assert REGISTRY.origin("broken") == "acme 1.0"
    assert REGISTRY.get("square").sides == 4
    with pytest.raises(UsageError) as caught:
        REGISTRY.get("broken")
    message = str(caught.value)
    assert message.startswith(f"shape 'broken' of acme 1.0 does not load: {why}")
    assert message.endswith("reinstall or remove that package")


def test_a_plugin_of_the_wrong_type_is_refused(site):
    install(site, "acme", {GROUP: {"square": "acme_square:plugin"}}, {"acme_square": "plugin = 4"})
    with pytest.raises(UsageError, match=r"'square' of acme 1\.0 is a int, not a Shape"):
        REGISTRY.get("square")


@pytest.mark.parametrize(
    ("name", "hint"),
    [("sqare", "did you mean square?"), ("zzz", "known: square, triangle")],
)
def test_an_unknown_name_suggests_near_ones(site, name, hint):
    entries = {one: f"acme_{one}:plugin" for one in ("square", "triangle")}
    install(site, "acme", {GROUP: entries})
    for ask in (REGISTRY.get, REGISTRY.origin):
        with pytest.raises(UsageError, match="unknown shape") as caught:
            ask(name)
        assert hint in str(caught.value)


def test_an_empty_group_knows_nothing(site):
    assert REGISTRY.names() == []
    with pytest.raises(UsageError, match="known: none"):
        REGISTRY.get("square")


@pytest.mark.parametrize("group", ["compressors", "families", "tasks"])
def test_every_plugin_of_ours_loads(group):
    from harness.compression.compressor import compressors
    from harness.evaluation.task import tasks
    from harness.families.family import families

    registry = {"compressors": compressors, "families": families, "tasks": tasks}[group]
    assert registry.names()
    for name in registry.names():
        assert registry.origin(name) == f"harness {version('harness')}"
        plugin = registry.get(name)
        assert group == "families" or plugin.summary


def test_a_method_that_lacks_a_part_is_no_method(site):
    source = "class Half:\n    summary = 'half'\nplugin = Half()\n"
    entries = {"harness.compressors": {"half": "acme_half:plugin"}}
    install(site, "acme", entries, {"acme_half": source})
    from harness.compression.compressor import compressors

    with pytest.raises(UsageError, match=r"'half' of acme 1\.0 is a Half, not a Compressor"):
        compressors.get("half")
