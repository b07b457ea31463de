"""A saved model to a repository of a model hub, in one commit."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, ModelInfo, get_token
from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError
from huggingface_hub.utils.sha import git_hash

from harness.assets.hashing import file_sha256
from harness.checkpoints.card_metadata import completed_card
from harness.checkpoints.manifest import CARD, check_saved, is_saved, saved_files
from harness.checkpoints.model_card import model_card
from harness.checkpoints.saved_record import read_saved_record
from harness.errors import HarnessError, InfrastructureError, UsageError
from harness.support.offline import is_offline

REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+")
KEPT = frozenset({".gitattributes"})
"""What a hub puts into a repository by itself."""
_LOGIN = "log in with 'hf auth login' or set HF_TOKEN"


@dataclass(frozen=True)
class Pushed:
    """Where a model is now; ``changed`` says whether there was anything to send."""

    url: str
    commit: str
    changed: bool


def push(folder: Path, repository: str, *, private: bool = False, replace: bool = False) -> Pushed:
    """Send the saved model in ``folder``: the files of its manifest and the card, nothing else.

    A repository that is not there is made first. What becomes of it is one commit, so that whoever
    reads it finds the whole model or what was there.

    Args:
        folder: of a saved model; is not changed.
        repository: ``OWNER/NAME``.
        private: what a new repository is to be; one that is there has to be.
        replace: let the commit take the place of other files that are there.

    Raises:
        UsageError: ``folder`` holds no saved model, there is no token, or the repository holds
            something else.
        AssetError: a file of the model is missing or changed.
        InfrastructureError: the hub cannot be reached or refuses.
    """
    files = _files(folder, repository)
    if is_offline():
        raise InfrastructureError("a push needs the network; leave out --offline")
    if get_token() is None:
        raise UsageError(f"there is no token for the hub; {_LOGIN}")
    hub = HfApi()
    with _trouble_explained(repository):
        there = _described(hub, repository)
        if there is None:
            hub.create_repo(repository, private=private)
            others: list[str] = []
        else:
            if private and not there.private:
                raise UsageError(
                    f"{repository} exists and is public; make it private on the hub, or leave out "
                    "--private"
                )
            if _same(there, files):
                return Pushed(f"{hub.endpoint}/{repository}", there.sha or "", changed=False)
            others = _others(there, files, repository, replace=replace)
        done = hub.create_commit(
            repository,
            [
                *(CommitOperationAdd(name, content) for name, content in files.items()),
                *(CommitOperationDelete(name, is_folder=False) for name in others),
            ],
            commit_message="A model compressed by harness",
            parent_commit=there.sha if there else None,
        )
    return Pushed(f"{hub.endpoint}/{repository}", done.oid, changed=True)


def _files(folder: Path, repository: str) -> dict[str, Path | bytes]:
    """What is sent, by its path in the repository."""
    if not REPOSITORY.fullmatch(repository):
        raise UsageError(f"'{repository}' is no repository of a hub; write OWNER/NAME")
    if not is_saved(folder):
        raise UsageError(f"{folder} holds no model saved by harness; pass the folder of one")
    check_saved(folder)
    saved = read_saved_record(folder)
    card = folder / CARD
    text = card.read_text("utf-8", errors="replace") if card.is_file() else model_card(saved)
    files: dict[str, Path | bytes] = {name: folder / name for name in saved_files(folder)}
    return files | {CARD: completed_card(text, saved).encode()}


def _described(hub: HfApi, repository: str) -> ModelInfo | None:
    try:
        return hub.model_info(repository, files_metadata=True)
    except RepositoryNotFoundError:
        return None


def _others(
    there: ModelInfo,
    files: Mapping[str, Path | bytes],
    repository: str,
    *,
    replace: bool,
) -> list[str]:
    """What is in the repository, which holds another model, and not among ``files``."""
    names = {sibling.rfilename for sibling in there.siblings or ()} - KEPT
    if names and not replace:
        raise UsageError(
            f"{repository} exists and holds {min(names)}"
            + f" and {len(names) - 1} more" * (len(names) > 1)
            + "; push to another name, or pass --replace to put this model in their place"
        )
    return sorted(names - files.keys())


def _same(there: ModelInfo, files: Mapping[str, Path | bytes]) -> bool:
    siblings = {sibling.rfilename: sibling for sibling in there.siblings or ()}
    if siblings.keys() - KEPT != files.keys():
        return False
    for name, content in files.items():
        large = siblings[name].lfs
        if large is not None:
            if isinstance(content, bytes) or file_sha256(content) != large.sha256:
                return False
            continue
        data = content if isinstance(content, bytes) else content.read_bytes()
        if git_hash(data) != siblings[name].blob_id:
            return False
    return True


@contextmanager
def _trouble_explained(repository: str) -> Iterator[None]:
    try:
        yield
    except HarnessError:
        raise
    except HfHubHTTPError as error:
        raise InfrastructureError(
            f"the hub refused {repository}: {_refusal(error)}; nothing was committed"
        ) from error
    # Clients of HTTP raise errors of many unrelated types, and an upload wraps them.
    except Exception as error:
        raise InfrastructureError(
            f"the push to {repository} broke off ({_first_line(error)}) and nothing was "
            "committed; see that the hub can be reached and run it again"
        ) from error


def _refusal(error: HfHubHTTPError) -> str:
    status = error.response.status_code
    if status == 401:
        return f"it does not accept the token; {_LOGIN}"
    if status == 403:
        return "the token may not write there; use one that may, or another name"
    if status in (409, 412):
        return "it was changed meanwhile; run it again"
    return _first_line(error)


def _first_line(error: BaseException) -> str:
    cause = error.__cause__ or error
    lines = [line.strip() for line in str(cause).splitlines() if line.strip()]
    first = next((line for line in lines if "Request ID" not in line), "no reason given")
    return f"{type(cause).__name__}: {first.rstrip('.')}"
