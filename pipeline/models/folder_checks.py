"""What a model folder must hold before anything is loaded from it.

Guaranteed: no code is run and no weight is read; only names and two small JSON files are.
Not covered: whether the weights fit the architecture, which loading finds out.
"""

from __future__ import annotations

from pathlib import Path

from pipeline.errors import ModelError
from pipeline.files import read_json
from pipeline.types import Json

_WEIGHTS = "model.safetensors"
_WEIGHTS_INDEX = "model.safetensors.index.json"
_PICKLE_PATTERNS = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")
_TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "tokenizer_config.json")


def check_model_folder(folder: Path) -> None:
    """Check that `folder` holds a model which can be loaded without running code from it.

    Raises:
        ModelError: A part is missing, is pickled, or asks for code of its own.
    """
    config = read_model_config(folder)
    _check_no_custom_code(folder / "config.json", config)
    _check_weights(folder)


def check_tokenizer_folder(folder: Path) -> None:
    """Check that `folder` holds a tokenizer which can be loaded without running code from it.

    Raises:
        ModelError: There is no tokenizer, or it asks for code of its own.
    """
    if not any((folder / name).is_file() for name in _TOKENIZER_FILES):
        raise ModelError(
            "MOD008",
            "no tokenizer in the model folder (tokenizer.json)",
            where=folder,
            hint="Copy the tokenizer's files of the same model into the folder",
        )
    path = folder / "tokenizer_config.json"
    if path.is_file():
        settings = _read_settings(path)
        if "auto_map" in settings:
            raise _custom_code_error(path)


def read_model_config(folder: Path) -> dict[str, Json]:
    """Return the content of the folder's `config.json`.

    Raises:
        ModelError: It is missing or is no JSON object.
    """
    path = folder / "config.json"
    if not path.is_file():
        if (folder / "adapter_config.json").is_file():
            raise ModelError(
                "MOD002",
                "this folder holds an adapter, not a model",
                where=folder,
                hint="Give the base model here; evaluation takes the folder as `--adapter`",
            )
        raise ModelError(
            "MOD002",
            "no config.json in the model folder",
            where=folder,
            hint="Give a folder saved with `save_pretrained`",
        )
    return _read_settings(path)


def _read_settings(path: Path) -> dict[str, Json]:
    try:
        value = read_json(path)
    except (OSError, ValueError) as error:
        raise ModelError(
            "MOD006", "cannot be read as JSON", where=path, hint="Download the file again"
        ) from error
    if not isinstance(value, dict):
        raise ModelError(
            "MOD006",
            f"must be a JSON object, got {type(value).__name__}",
            where=path,
            hint="Download the file again",
        )
    return value


def _check_no_custom_code(path: Path, config: dict[str, Json]) -> None:
    if "auto_map" not in config:
        return
    # Many hub models keep `auto_map` from before transformers learned their architecture; it is
    # ignored for a known one, because loading never trusts code of the folder.
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES

    if config.get("model_type") not in CONFIG_MAPPING_NAMES:
        raise _custom_code_error(path)


def _custom_code_error(path: Path) -> ModelError:
    return ModelError(
        "MOD005",
        "asks to run code of its own (`auto_map`), which is never done",
        where=path,
        hint="Use a model whose architecture is part of transformers",
    )


def _check_weights(folder: Path) -> None:
    if (folder / _WEIGHTS).is_file():
        return
    index = folder / _WEIGHTS_INDEX
    if index.is_file():
        _check_shards(index)
        return
    pickled = sorted(path.name for pattern in _PICKLE_PATTERNS for path in folder.glob(pattern))
    if pickled:
        raise ModelError(
            "MOD004",
            f"only pickled weights in the model folder ({pickled[0]}), which can run code",
            where=folder,
            hint=f"Convert them to {_WEIGHTS} where you trust the source",
        )
    raise ModelError(
        "MOD003",
        f"no weights in the model folder, expected {_WEIGHTS} or {_WEIGHTS_INDEX}",
        where=folder,
        hint="Download the model again, with its weights",
    )


def _check_shards(index: Path) -> None:
    weight_map = _read_settings(index).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise ModelError(
            "MOD006", "has no `weight_map`", where=index, hint="Download the file again"
        )
    for name in sorted({str(shard) for shard in weight_map.values()}):
        if Path(name).name != name or not (index.parent / name).is_file():
            raise ModelError(
                "MOD003",
                f"the index names the weight file {name!r}, which is not in the folder",
                where=index,
                hint="Download the model again, with all its weight files",
            )
