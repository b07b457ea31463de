"""One stored matrix of a layer while its tensors arrive."""

from __future__ import annotations

import torch
from torch import Tensor

from harness_vllm.coordinates import Coordinates
from harness_vllm.forms import form_named
from harness_vllm.forms.form import Form, Tensors
from harness_vllm.layout import StoredLayer


class Part:
    """Collects what is stored, and keeps this rank's share as soon as all is there."""

    def __init__(
        self,
        path: str,
        stored: StoredLayer,
        inputs: Coordinates,
        outputs: Coordinates,
        dtype: torch.dtype,
        *,
        adds_bias: bool,
    ) -> None:
        if (stored.d_in, stored.d_out) != (inputs.size, outputs.size):
            raise ValueError(
                f"config.json of the saved model is damaged ({path} is {stored.d_out} x "
                f"{stored.d_in}, the architecture wants {outputs.size} x {inputs.size}); copy the "
                "model again"
            )
        self.path = path
        self.form_name, self.form = stored.form, form_named(stored.form)
        self.inputs, self.outputs, self.dtype = inputs, outputs, dtype
        self.adds_bias = adds_bias
        self.missing = {*self.form.names, *(("bias",) if stored.bias else ())}
        self.tensors: Tensors = {}

    def put(self, name: str, tensor: Tensor) -> None:
        """Take a tensor in.

        Raises:
            ValueError: the form has none of that name, or cannot be split over the ranks.
        """
        if name not in self.missing:
            raise ValueError(f"the saved model has no use for {self.path}.{name}; copy it again")
        self.missing.remove(name)
        whole = tensor.to(self.dtype) if tensor.is_floating_point() else tensor
        self.tensors[name] = whole.detach()
        if not self.missing:
            self._split()

    def _split(self) -> None:
        if not self.adds_bias:
            self.tensors.pop("bias", None)
        try:
            if not self.outputs.whole():
                self.tensors = self.form.rows(self.tensors, self.outputs)
            if not self.inputs.whole():
                self.tensors = self.form.columns(self.tensors, self.inputs)
        except ValueError as error:
            raise ValueError(
                f"{self.path} cannot be split over the ranks of tensor parallelism ({error}); "
                "serve with fewer, --tensor-parallel-size 1 fits all"
            ) from error

    def finished(self) -> Form:
        """The layer that runs.

        Raises:
            ValueError: tensors are missing.
        """
        if self.missing:
            names = ", ".join(sorted(self.missing))
            raise ValueError(f"the saved model lacks {names} of {self.path}; copy it again")
        form = self.form(self.tensors)
        self.tensors = {}
        return form
