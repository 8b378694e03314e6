"""Keeps the libraries underneath from talking into the progress display."""

from __future__ import annotations

import os
import warnings
from logging import ERROR, getLogger


def quiet_imports() -> None:
    """Keep what libraries write while they are imported off the terminal; imports none itself."""
    # On CPUs with bfloat16 it warns that an optional package for 4-bit products is not there.
    getLogger("bitsandbytes").setLevel(ERROR)


def quiet_libraries() -> None:
    """Keep what engines and tokenizers write about their own internals off the terminal."""
    quiet_imports()
    libraries = r"(transformers|trl|peft|torch\.distributed)\b"
    warnings.filterwarnings("ignore", category=FutureWarning, module=libraries)
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    import torch

    if not torch.cuda.is_available():
        # Without this DeepSpeed, where it is installed, looks for a device and writes about it.
        os.environ.setdefault("DS_ACCELERATOR", "cpu")
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
