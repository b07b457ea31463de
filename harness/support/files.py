"""Files and folders that are whole or absent, also after a kill, a full disk or a power cut.

One rule for all: content is written beside its place under a hidden name and flushed to the disk
before it takes the name, and the folder of the name is flushed after. Readers see what was there
or what is new, never a part. The hidden names end in ``.tmp`` where any number of processes may
write at once, in ``.partial`` where the caller sees to it that only one does.
"""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from harness.errors import InfrastructureError

PARTIAL = ".partial"
_TEMPORARY = ".harness.tmp"
_ABANDONED = 24 * 3600.0
"""Seconds after which nobody is still writing what fits in memory."""
_FULL = dict.fromkeys((errno.ENOSPC, errno.EDQUOT), "free some space or choose another folder")
_FIXES = _FULL | dict.fromkeys(
    (errno.EACCES, errno.EPERM, errno.EROFS), "make it writable or choose another folder"
)


def write_file(path: Path, content: bytes | str) -> None:
    """Write ``content`` (text as UTF-8) to ``path``; see ``write_files``.

    Raises:
        OSError: it cannot be written; what was there is whole.
    """
    write_files({path: content})


def write_files(files: Mapping[Path, bytes | str]) -> None:
    """Write several files, none of which changes before all are on the disk under other names.

    Folders are made where they lack. A link stays and its target is written; a file that is there
    keeps its permissions. What has no content to keep whole, such as a pipe or ``/dev/stdout``, is
    written as it is, before files change. What killed processes left in the folders is removed
    after a day.

    Raises:
        OSError: one cannot be written, and names it; what was there is whole.
    """
    contents = {
        path: content.encode() if isinstance(content, str) else content
        for path, content in files.items()
    }
    streams = [path for path in contents if _is_stream(path)]
    targets = {path: _target(path) for path in contents if path not in streams}
    with ExitStack() as stack:
        asides = {
            path: stack.enter_context(_written_aside(target, contents[path]))
            for path, target in targets.items()
        }
        for path in streams:
            with _errors_naming(path):
                path.write_bytes(contents[path])
        for path, target in targets.items():
            with _errors_naming(target):
                asides[path].replace(target)
        for folder in {target.parent for target in targets.values()}:
            flush(folder)


@contextmanager
def file_aside(path: Path) -> Iterator[Path]:
    """A path beside ``path`` to write to, which takes its name if the block ends well.

    For one process at a time: what a killed one left is overwritten. Whatever writes there, the
    file has the permissions that the file at ``path`` had, or that a new one has.

    Raises:
        OSError: it cannot be written; what was there is whole.
    """
    target = _target(path)
    aside = partial_of(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        with _errors_naming(target):
            aside.unlink(missing_ok=True)
            aside.touch()
            mode = _mode_for(target, aside)
        yield aside
        with _errors_naming(target):
            aside.chmod(mode)
            flush(aside)
            aside.replace(target)
            flush(target.parent)
    finally:
        with suppress(OSError):  # of which there was one already
            aside.unlink()


@contextmanager
def folder_aside(folder: Path) -> Iterator[Path]:
    """An empty folder beside ``folder`` that replaces it if the block ends well.

    For one process at a time. What a killed one left is removed; one killed while it replaced
    ``folder`` may have left none, then the former one is back before the block begins.

    Raises:
        OSError: it cannot be written; what was there is whole.
    """
    partial, former = partial_of(folder), former_of(folder)
    _put_back(former, folder)
    remove(former)
    if partial.is_symlink() or not partial.is_dir():
        remove(partial)
        partial.mkdir(parents=True)
    for path in partial.iterdir():  # the folder itself may be locked
        remove(path)
    try:
        yield partial
        _flush_tree(partial)
        # A folder cannot take the name of one that has content, so that one steps aside first.
        if os.path.lexists(folder):
            folder.rename(former)
        partial.rename(folder)
        flush(folder.parent)
        remove(former)
    finally:
        remove(partial)
        _put_back(former, folder)


def partial_of(path: Path) -> Path:
    """Where ``file_aside`` and ``folder_aside`` have what will be called ``path``."""
    return path.with_name(f".{path.name}{PARTIAL}")


def former_of(folder: Path) -> Path:
    """Where ``folder_aside`` puts a folder that it is about to replace."""
    return folder.with_name(f".{folder.name}.replaced")


def remove(path: Path) -> None:
    """Remove a file, a link (not what it leads to) or a folder, if it is there."""
    if path.is_symlink() or path.is_file():
        path.unlink()
    elif path.exists():
        shutil.rmtree(path)


def flush(path: Path) -> None:
    """Have the content of a file, or the names in a folder, on the disk."""
    with _errors_naming(path):
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        except OSError as error:
            # Some file systems keep names without being asked and know no such call.
            if error.errno != errno.EINVAL or not path.is_dir():
                raise
        finally:
            os.close(handle)


def cannot_write(what: object, error: OSError) -> InfrastructureError:
    """The error for ``what``, which the system's ``error`` keeps from being written."""
    fix = _FIXES.get(error.errno or 0, "choose another folder")
    return InfrastructureError(f"cannot write {what}: {error.strerror or error}; {fix}")


@contextmanager
def write_failures_explained() -> Iterator[None]:
    """Turn an ``OSError`` of what is here into an error that names the file and the fix."""
    try:
        yield
    except OSError as error:
        raise cannot_write(error.filename, error) from error


def _put_back(former: Path, folder: Path) -> None:
    """Undo a replacement that stopped between its two steps."""
    if os.path.lexists(former) and not os.path.lexists(folder):
        former.rename(folder)


@contextmanager
def _written_aside(target: Path, data: bytes) -> Iterator[Path]:
    """A file beside ``target`` that holds ``data``, on the disk; gone at the end of the block."""
    target.parent.mkdir(parents=True, exist_ok=True)
    _remove_abandoned(target.parent)
    aside = target.with_name(f".{target.name}.{secrets.token_hex(4)}{_TEMPORARY}")
    try:
        with _errors_naming(target), aside.open("xb") as file:
            aside.chmod(_mode_for(target, aside))
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        yield aside
    finally:
        with suppress(OSError):  # of which there was one already
            aside.unlink()


def _target(path: Path) -> Path:
    """What a link leads to."""
    return path.resolve() if path.is_symlink() else path


def _mode_for(target: Path, aside: Path) -> int:
    """Permissions of ``target``, else those of ``aside``, just made.

    Raises:
        PermissionError: ``target`` may not be written, which replacing it would pass over.
    """
    if not target.exists():
        return aside.stat().st_mode
    if not os.access(target, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(target))
    return target.stat().st_mode


def _is_stream(path: Path) -> bool:
    """Whether ``path`` is no file of a folder: a pipe, a device, or what a process has open."""
    if path.exists() and not path.is_file():
        return True
    folder = path.parent.resolve()
    return str(folder) == "/dev" or folder.is_relative_to("/proc")


def _remove_abandoned(folder: Path) -> None:
    for path in folder.glob(f".*{_TEMPORARY}"):
        with suppress(FileNotFoundError):  # another process may be at the same
            if time.time() - path.lstat().st_mtime > _ABANDONED:
                path.unlink()


def _flush_tree(folder: Path) -> None:
    """Flush all that is in ``folder``; links are not followed."""
    for place, _, names in os.walk(folder, topdown=False):
        for name in names:
            if not Path(place, name).is_symlink():
                flush(Path(place, name))
        flush(Path(place))


@contextmanager
def _errors_naming(path: Path) -> Iterator[None]:
    """Have an ``OSError`` say ``path``, not the name it would have got it from."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error
