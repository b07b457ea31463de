"""Opening what anybody may have made: nothing of it is run, nothing is fetched for it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from transformers import AutoConfig, PretrainedConfig
from transformers.utils import logging

from harness.checkpoints.sanity import check_configuration
from harness.errors import AssetError, HarnessError
from harness.support.library_errors import described
from harness.support.offline import offline
from harness.support.out_of_memory import out_of_memory
from harness.support.panics import INTERRUPTS, panics_unreported


def read_configuration(folder: Path, reference: str) -> PretrainedConfig:
    """What ``config.json`` in ``folder`` says.

    Raises:
        AssetError: it cannot be that of a model; see ``check_configuration``.
    """
    check_configuration(folder)
    with damage_explained(f"the configuration of '{reference}'", "fetch or copy it again"):
        config: PretrainedConfig = AutoConfig.from_pretrained(
            folder, trust_remote_code=False, local_files_only=True
        )
        return config


@contextmanager
def damage_explained(what: str, fix: str) -> Iterator[None]:
    """Whatever a library makes of the files of ``what`` as ``AssetError``; without a network."""
    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()  # instead of a report over many lines, one error
    try:
        with offline(), panics_unreported():
            yield
    # Libraries raise errors of many unrelated types, KeyError and panics among them.
    except BaseException as error:
        if isinstance(error, (HarnessError, *INTERRUPTS)) or out_of_memory(error):
            raise
        raise AssetError(f"{what} does not load ({described(error)}); {fix}") from error
    finally:
        logging.set_verbosity(verbosity)
