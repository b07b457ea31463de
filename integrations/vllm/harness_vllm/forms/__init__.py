"""The forms a linear layer can be stored in, one module each.

A form is a module that is made of the tensors that are stored, ``bias`` among them where there is
one, and runs on rows ``x: [n, d_in]``. ``rows`` and ``columns`` reduce these tensors to some
coordinates of the output and of the input, before that: tensors in, tensors out.
"""

from __future__ import annotations

from harness_vllm.forms.dense import Dense
from harness_vllm.forms.form import Form
from harness_vllm.forms.head_identity import HeadIdentity
from harness_vllm.forms.input_identity import InputIdentity
from harness_vllm.forms.output_identity import OutputIdentity
from harness_vllm.forms.plain import Plain
from harness_vllm.forms.pruned import KeptColumns, KeptRows

FORMS: dict[str, type[Form]] = {
    "dense": Dense,
    "plain": Plain,
    "block-identity": InputIdentity,
    "block-identity-output": OutputIdentity,
    "head-identity": HeadIdentity,
    "kept-rows": KeptRows,
    "kept-columns": KeptColumns,
}


def form_named(name: str) -> type[Form]:
    """The class of a form.

    Raises:
        ValueError: it is unknown.
    """
    if name not in FORMS:
        raise ValueError(f"a layer is of an unknown form '{name}'; upgrade harness-vllm")
    return FORMS[name]
