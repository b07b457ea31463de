"""The linear layers of a decoder block and the activations they read."""

from __future__ import annotations

from typing import Literal

Role = Literal["query", "key", "value", "output", "gate", "up", "down"]
Site = Literal["attention_input", "attention_output", "mlp_input", "mlp_inner"]

SITE_OF_ROLE: dict[Role, Site] = {
    "query": "attention_input",
    "key": "attention_input",
    "value": "attention_input",
    "output": "attention_output",
    "gate": "mlp_input",
    "up": "mlp_input",
    "down": "mlp_inner",
}
"""The distinct activation each layer reads; layers that share one share its moments."""

WRITING_ROLES: tuple[Role, ...] = ("output", "down")
"""The layers that write to the residual stream, in order."""
