"""Which saved LoRA adapters are no more than `s B A` on the weights of the base as it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_PLAIN_STARTS = (True, False, None, "gaussian", "eva", "orthogonal", "mica")
"""Values of `init_lora_weights` that leave the base as it is; PEFT repeats the others at every
load, so the saved factors belong to the base that remains."""
_OTHER_FORMS = {
    "layer_replication": "it repeats layers of the base",
    "target_parameters": "it changes parameters that are no layers",
    "alora_invocation_tokens": "it acts from certain tokens on only",
    "arrow_config": "it routes between adapters",
    "use_qalora": "QALoRA pools the inputs of its layers",
    "use_bdlora": "BD-LoRA has block-diagonal factors",
    "kasa_config": "KaSA cuts the weights of the base",
    "monteclora_config": "MonteCLoRA samples its factors",
    "lora_bias": "it trains biases",
}


def why_not_plain(config: Mapping[str, Any]) -> str | None:
    """Return why a configuration of type LORA means more than two factors per layer, or `None`."""
    start = config.get("init_lora_weights", True)
    if start not in _PLAIN_STARTS:
        return f"it was started with {start!r}, which changes the weights of the base"
    if config.get("bias", "none") != "none":
        return "it trains biases"
    return next((reason for name, reason in _OTHER_FORMS.items() if config.get(name)), None)
