"""A model with an adapter."""

from __future__ import annotations

from dataclasses import replace
from warnings import catch_warnings

import torch

from harness.adapters.adapter_folder import AdapterAsset
from harness.errors import UsageError
from harness.models.language_model import LanguageModel
from harness.offload.hooks import is_offloaded
from harness.support.library_errors import described
from harness.support.offline import offline
from harness.support.out_of_memory import out_of_memory


def with_adapter(subject: LanguageModel, adapter: AdapterAsset) -> LanguageModel:
    """``subject`` with ``adapter`` beside its layers, in place.

    Raises:
        UsageError: the adapter is of another model or damaged, or blocks are on disk.
    """
    if is_offloaded(subject.model):
        raise UsageError("an adapter needs the whole model in memory; leave out --offload")
    from peft import PeftModel, get_peft_model_state_dict  # noqa: PLC0415 - imports take a second

    fix = f"pass an adapter that was trained for {subject.asset.reference}"
    try:
        with offline(), catch_warnings(action="ignore"):  # what matters is checked below
            model = PeftModel.from_pretrained(subject.model, str(adapter.folder))
    except Exception as error:
        if out_of_memory(error):
            raise
        raise UsageError(
            f"the adapter {adapter.reference} does not fit the model ({described(error)}); {fix}"
        ) from error
    tensors = get_peft_model_state_dict(model)
    if different := adapter.names ^ tensors.keys():
        raise UsageError(
            f"the adapter {adapter.reference} does not fit the model ({len(different)} tensors are "
            f"in one of both alone, the first {min(different)}); {fix}"
        )
    if not all(torch.isfinite(tensor).all() for tensor in tensors.values()):
        raise UsageError(f"the adapter {adapter.reference} holds NaN or infinity; train it again")
    model.eval()
    facts = adapter.facts(sum(tensor.numel() for tensor in tensors.values()))
    return replace(subject, training=facts)
