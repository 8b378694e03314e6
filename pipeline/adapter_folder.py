"""An adapter's folder as files: what must be in it, read without torch or PEFT."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

from pipeline.errors import AdapterError
from pipeline.files import MANIFEST_NAME, folder_fault, read_json

ADAPTER_CONFIG_FILE = "adapter_config.json"
ADAPTER_WEIGHTS_FILE = "adapter_model.safetensors"
MERGE_FILE = "merge.json"
"""Sources with hashes, method, coefficients and errors: enough to replay a merge without data."""
EXPORT_FILE = "export.json"
"""Beside exported weights of one task: what was exported, and how exactly."""


def check_adapter_folder(folder: Path) -> None:
    """Check that `folder` is a PEFT folder with safetensors weights, as it was written.

    Raises:
        AdapterError: It is not.
    """
    config = folder / ADAPTER_CONFIG_FILE
    if not config.is_file():
        raise AdapterError(
            "ADP003",
            f"no {ADAPTER_CONFIG_FILE} here, so this is no adapter",
            where=folder,
            hint="Give the `adapter` folder of a run, or any PEFT folder",
        )
    if not (folder / ADAPTER_WEIGHTS_FILE).is_file():
        raise AdapterError(
            "ADP003",
            f"no {ADAPTER_WEIGHTS_FILE} here; pickled weights are never read",
            where=folder,
            hint="Save the adapter again as safetensors",
        )
    _check_as_written(folder)
    try:
        value = json.loads(config.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise AdapterError("ADP005", "cannot be read as JSON", where=config) from error
    if not isinstance(value, dict) or "peft_type" not in value:
        raise AdapterError("ADP005", "has no `peft_type`", where=config)


def _check_as_written(folder: Path) -> None:
    """Compare an adapter with its manifest; PEFT folders made elsewhere have none."""
    if not (folder / MANIFEST_NAME).exists():
        return
    fault = folder_fault(folder, allows_notes=True)
    if fault is not None:
        raise AdapterError(
            "ADP005",
            f"this adapter is not as it was written: {fault}",
            where=folder,
            hint=f"Copy it again; where the change is wanted, remove {MANIFEST_NAME}",
        )


def read_adapter_config(folder: Path) -> dict[str, Any]:
    """Return the configuration of a PEFT folder, with the bare name of its type.

    Raises:
        AdapterError: It is no PEFT folder with safetensors weights.
    """
    check_adapter_folder(folder)
    config = cast("dict[str, Any]", read_json(folder / ADAPTER_CONFIG_FILE))
    # Behind the names of our own types stands what they need.
    config["peft_type"] = str(config["peft_type"]).partition(":")[0]
    return config
