"""Files that hide a package: Python imports whatever lies first on ``sys.path`` under its name."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.machinery import ModuleSpec, PathFinder
from importlib.metadata import Distribution
from importlib.util import find_spec
from pathlib import Path

from harness.errors import UsageError


def hidden(what: str, file: Path) -> UsageError:
    """Error for ``what``, whose package ``file`` hides."""
    return UsageError(
        f"{what} is hidden by {file}, which Python imports under the same name; rename that, "
        "or run in another folder"
    )


def hiding_file(module: str, distribution: Distribution) -> Path | None:
    """What Python imports instead of ``module`` of ``distribution``; nothing is executed.

    A package found elsewhere that has the module too is a copy, such as a checkout on
    ``PYTHONPATH``, and hides nothing.

    Args:
        module: name with dots, such as ``tasks.wikitext2``.
        distribution: the installed package that brings it.

    Returns:
        The file, or the folder of a package; None where nothing is hidden, or where the
        distribution does not tell where its modules are.
    """
    package, _, inner = module.partition(".")
    own = PathFinder.find_spec(package, list(_roots(distribution)))
    imported = _imported(package)
    if own is None or imported is None or _location(imported) == _location(own):
        return None
    if inner and module_inside(imported, module):
        return None
    return _location(imported)


def module_inside(package: ModuleSpec | None, module: str) -> ModuleSpec | None:
    """Where ``module`` lies in ``package``, or the package itself; nothing is executed."""
    spec = package
    name, *parts = module.split(".")
    for part in parts:
        name = f"{name}.{part}"
        locations = spec.submodule_search_locations if spec else None
        spec = PathFinder.find_spec(name, list(locations)) if locations else None
    return spec


def _roots(distribution: Distribution) -> Iterator[str]:
    """Folders that hold the distribution's modules: its own, or those of an editable install."""
    yield str(distribution.locate_file(""))
    for file in distribution.files or ():
        if file.suffix == ".pth":
            lines = Path(str(file.locate())).read_text(encoding="utf-8").splitlines()
            yield from (line for line in lines if Path(line).is_dir())


def _imported(package: str) -> ModuleSpec | None:
    try:
        return find_spec(package)
    except ValueError:  # made by hand, without a specification
        return None


def _location(spec: ModuleSpec) -> Path | None:
    if spec.submodule_search_locations:
        return Path(next(iter(spec.submodule_search_locations))).resolve()
    return Path(spec.origin).resolve() if spec.origin else None
