"""Loads a base model and its tokenizer, by the same rules for folders and the hub.

Guaranteed: weights come from safetensors only, no code of the model's repository is run, every
weight of the architecture comes from the file. Not covered: whether a chat template is any good.
"""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pipeline.chat.extension import TokenExtension
from pipeline.errors import ModelError
from pipeline.models.dna_base import DNA_BASES, ensure_dna_base
from pipeline.models.folder_checks import check_model_folder, check_tokenizer_folder

if TYPE_CHECKING:
    import torch
    from transformers import BitsAndBytesConfig, PreTrainedModel, PreTrainedTokenizerBase

EMBEDDED_MODEL = "embedded"
"""Name of the small base model that the project builds itself."""

DtypeName = Literal["auto", "float32", "bfloat16", "float16"]

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")
_PAD_TOKENS = ("<pad>", "<|pad|>", "[PAD]", "<|finetune_right_pad_id|>", "<|endoftext|>")
"""Padding tokens of known model families, used where a tokenizer does not name its own."""


def resolve_model(name: str, *, needs_weights: bool = True) -> str:
    """Return the folder or hub id behind a model name.

    Args:
        name: `embedded`, a size in `DNA_BASES`, a model folder, or a hub id such as
            `Qwen/Qwen3-0.6B`.
        needs_weights: Whether more than tokenizer and configuration is read; without weights the
            embedded base is there at once, with them it may have to be trained first.

    Raises:
        ModelError: The name is neither, or the folder holds no usable model.
    """
    if name == EMBEDDED_MODEL:
        from pipeline.models.embedded import ensure_embedded_base, ensure_embedded_frame

        return str(ensure_embedded_base() if needs_weights else ensure_embedded_frame())
    if name in DNA_BASES:
        return str(ensure_dna_base(name))
    folder = Path(name).expanduser()
    if folder.is_dir():
        check_model_folder(folder)
        return str(folder)
    if _HUB_ID.fullmatch(name) and not folder.exists():
        return name
    raise ModelError(
        "MOD001",
        "no such model folder, and not a hub id",
        where=name,
        hint=f"Give a folder, a hub id such as 'Qwen/Qwen3-0.6B', or {EMBEDDED_MODEL!r}",
    )


def load_tokenizer(
    name: str,
    *,
    revision: str | None = None,
    chat_template_path: Path | None = None,
    extension: TokenExtension | None = None,
) -> PreTrainedTokenizerBase:
    """Load the tokenizer of a model; it has a padding token afterwards.

    Args:
        name: As for `resolve_model`.
        revision: Commit, tag or branch on the hub.
        chat_template_path: Jinja file that replaces the model's chat template.
        extension: Tokens to add.

    Raises:
        ModelError: The tokenizer or the template cannot be loaded.
    """
    from transformers import AutoTokenizer

    source = resolve_model(name, needs_weights=False)
    if Path(source).is_dir():
        check_tokenizer_folder(Path(source))
    try:
        tokenizer = AutoTokenizer.from_pretrained(
            source, revision=revision, trust_remote_code=False
        )
    except (OSError, ValueError, ImportError, KeyError, TypeError) as error:
        raise _loading_error(source, "tokenizer", error) from error
    if chat_template_path is not None:
        tokenizer.chat_template = _read_chat_template(chat_template_path)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = _find_pad_token(tokenizer, source)
    if extension is not None:
        extension.add_to(tokenizer)
    return tokenizer


def load_model(
    name: str,
    *,
    revision: str | None = None,
    dtype: DtypeName = "auto",
    attn_implementation: str | None = None,
    load_in_4bit: bool = False,
    load_in_8bit: bool = False,
    bnb_4bit_quant_type: Literal["nf4", "fp4"] = "nf4",
    use_bnb_nested_quant: bool = False,
    device: str | torch.device | None = None,
) -> PreTrainedModel:
    """Load a causal language model.

    Args:
        name: As for `resolve_model`.
        revision: Commit, tag or branch on the hub.
        dtype: Type of the weights; `auto` is bfloat16 on a GPU and float32 on a CPU.
        attn_implementation: `sdpa`, `eager`, `flash_attention_2`, ...; `None` lets transformers
            choose.
        load_in_4bit: Quantise the linear layers to 4 bits (QLoRA).
        load_in_8bit: Quantise the linear layers to 8 bits.
        bnb_4bit_quant_type: Number format of the 4-bit weights.
        use_bnb_nested_quant: Quantise the quantisation constants too.
        device: Where to put the model; `None` leaves it on the CPU, or on the current GPU when it
            is quantised.

    Returns:
        The model in evaluation mode.

    Raises:
        ModelError: The model cannot be loaded as asked.
    """
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM

    source = resolve_model(name)
    quantization_config = build_quantization_config(
        load_in_4bit=load_in_4bit,
        load_in_8bit=load_in_8bit,
        bnb_4bit_quant_type=bnb_4bit_quant_type,
        use_bnb_nested_quant=use_bnb_nested_quant,
    )
    options: dict[str, Any] = {"attn_implementation": attn_implementation}
    if quantization_config is not None:
        options |= {
            "quantization_config": quantization_config,
            "device_map": {"": device if device is not None else current_device()},
        }
    try:
        model, loading_info = AutoModelForCausalLM.from_pretrained(
            source,
            revision=revision,
            dtype=resolve_dtype(dtype),
            use_safetensors=True,
            trust_remote_code=False,
            output_loading_info=True,
            **options,
        )
        if device is not None and quantization_config is None:
            model.to(device)
    except (OSError, ValueError, ImportError, RuntimeError, SafetensorError) as error:
        raise _loading_error(source, "model", error) from error
    _check_all_weights_loaded(source, loading_info)
    _keep_packing_of_weights(model)
    return model


def _keep_packing_of_weights(model: PreTrainedModel) -> None:
    """Keep bitsandbytes from packing 4-bit weights anew when a model is evaluated on a CPU.

    On CPUs with AVX512-BF16 it does (0.50), and then layers whose width is no multiple of 64 fail,
    and the others pass no gradient on any more, so that training after an evaluation is wrong.
    """
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False


def build_skeleton(name: str, *, revision: str | None = None) -> PreTrainedModel:
    """Return a causal language model of the right shapes without weights; takes no memory.

    Args:
        name: As for `resolve_model`; only the configuration is read, so a folder needs no weights.
        revision: Commit, tag or branch on the hub.

    Raises:
        ModelError: The configuration cannot be read.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    has_config = (Path(name) / "config.json").is_file()
    source = name if has_config else resolve_model(name, needs_weights=False)
    try:
        config = AutoConfig.from_pretrained(source, revision=revision, trust_remote_code=False)
        with torch.device("meta"):
            model: PreTrainedModel = AutoModelForCausalLM.from_config(config)
    except (OSError, ValueError, ImportError, KeyError, TypeError) as error:
        raise _loading_error(source, "model", error) from error
    return model


def carries_state(model: PreTrainedModel) -> bool:
    """Return whether any layer carries a state along a row: recurrent, linear or convolving ones.

    Attention tells packed examples apart by their positions; such layers do not.
    """
    kinds = getattr(model.config.get_text_config(), "layer_types", None) or ()
    has_such_layer = any(kind.startswith(("linear", "conv", "hybrid")) for kind in kinds)
    return has_such_layer or bool(getattr(model, "_is_stateful", False))


def build_quantization_config(
    *,
    load_in_4bit: bool,
    load_in_8bit: bool,
    bnb_4bit_quant_type: Literal["nf4", "fp4"] = "nf4",
    use_bnb_nested_quant: bool = False,
) -> BitsAndBytesConfig | None:
    """Return the bitsandbytes settings, or `None` for a model that is not quantised.

    Raises:
        ModelError: Both widths are asked for, or bitsandbytes is not installed.
    """
    if not load_in_4bit and not load_in_8bit:
        return None
    if load_in_4bit and load_in_8bit:
        raise ModelError(
            "MOD014",
            "got both load_in_4bit and load_in_8bit, allowed one of them",
            hint="Set one of them to false",
        )
    if importlib.util.find_spec("bitsandbytes") is None:
        raise ModelError(
            "MOD010",
            "4-bit and 8-bit models need bitsandbytes, which is not installed",
            hint="pip install bitsandbytes, or leave load_in_4bit and load_in_8bit out",
        )
    import torch
    from transformers import BitsAndBytesConfig

    if load_in_8bit:
        return BitsAndBytesConfig(load_in_8bit=True)
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type=bnb_4bit_quant_type,
        bnb_4bit_use_double_quant=use_bnb_nested_quant,
        bnb_4bit_compute_dtype=torch.bfloat16,
        # FSDP shards the packed weights only if they are stored in the type of the other weights.
        bnb_4bit_quant_storage=torch.bfloat16,
    )


def resolve_dtype(name: DtypeName) -> torch.dtype:
    """Return the torch type for a name; `auto` is bfloat16 on a GPU, float32 on a CPU."""
    import torch

    if name == "auto":
        return torch.bfloat16 if torch.cuda.is_available() else torch.float32
    by_name: dict[str, torch.dtype] = {
        "float32": torch.float32,
        "bfloat16": torch.bfloat16,
        "float16": torch.float16,
    }
    return by_name[name]


def current_device() -> torch.device:
    """Return this process's GPU, or the CPU where there is none."""
    import torch

    if torch.cuda.is_available():
        return torch.device("cuda", torch.cuda.current_device())
    return torch.device("cpu")


def _read_chat_template(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ModelError(
            "MOD009",
            "the chat template cannot be read as text",
            where=path,
            hint="Give a Jinja file in `chat_template_path`",
        ) from error


def _find_pad_token(tokenizer: PreTrainedTokenizerBase, source: str) -> str:
    # Padding never carries loss and is masked in attention, so sharing a token does no harm; a new
    # one would change the size of the embeddings.
    vocabulary = tokenizer.get_vocab()
    for token in (*_PAD_TOKENS, tokenizer.eos_token):
        if token is not None and token in vocabulary:
            return str(token)
    raise ModelError(
        "MOD012",
        "the tokenizer has neither a padding token nor an end token",
        where=source,
        hint="Set `eos_token` in its tokenizer_config.json",
    )


def _check_all_weights_loaded(source: str, loading_info: dict[str, Any]) -> None:
    missing = sorted(loading_info.get("missing_keys", ()))
    if missing:
        raise ModelError(
            "MOD013",
            f"the weight files lack {len(missing)} weights of the model, e.g. {missing[0]}",
            where=source,
            hint="Without them the model would start from random numbers; download it again",
        )


def _loading_error(source: str, part: str, error: Exception) -> ModelError:
    if "out of memory" in str(error) or "can't allocate memory" in str(error):
        hint = "Free memory of the device, or set a smaller `dtype` or `load_in_4bit: true`"
        return ModelError("MOD007", "the model does not fit into memory", where=source, hint=hint)
    first_line = (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
    if not Path(source).is_dir() and isinstance(error, OSError):
        return ModelError(
            "MOD011",
            f"the {part} is not a folder here and could not be fetched from the hub",
            where=source,
            hint="Check the name, the revision and the network, or give a local folder",
        )
    return ModelError("MOD007", f"the {part} cannot be loaded: {first_line}", where=source)
