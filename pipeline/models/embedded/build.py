"""Builds the embedded base: tokenizer, structured start, a few minutes of training, one folder."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from pipeline.files import cache_root, is_complete_folder, staged_folder
from pipeline.models.embedded.settings import BaseSettings
from pipeline.models.embedded.structured_start import apply_structured_start
from pipeline.models.embedded.text import WORDS, exercises
from pipeline.models.embedded.tokenizer import build_tokenizer
from pipeline.models.embedded.training import train_base
from pipeline.models.embedded.vocabulary import vocabulary_texts
from pipeline.sources.generated.functions import ACTIONS

logger = logging.getLogger(__name__)

NUM_TOKENIZER_EXERCISES = 6000


def ensure_embedded_base(*, progress: bool = True) -> Path:
    """Return the folder of the embedded base; build it first when it is missing or damaged.

    Args:
        progress: Show a progress bar on the terminal while building.

    Returns:
        A transformers folder: config, weights, tokenizer, chat template, generation config.

    Raises:
        OutputError: The cache folder cannot be written.
    """
    settings = BaseSettings()
    folder = _base_folder(settings)
    if not is_complete_folder(folder):
        with staged_folder(folder) as staged:
            build_embedded_base(staged, settings=settings, progress=progress)
    return folder


def ensure_embedded_frame() -> Path:
    """Return a folder with tokenizer and configuration of the embedded base, built in seconds.

    It is the folder of the base itself where that is there, and else one without weights.

    Raises:
        OutputError: The cache folder cannot be written.
    """
    settings = BaseSettings()
    whole = _base_folder(settings)
    if is_complete_folder(whole):
        return whole
    folder = cache_root() / "embedded-base" / f"{settings.fingerprint()}-frame"
    if not is_complete_folder(folder):
        tokenizer = build_embedded_tokenizer(settings.seed)
        with staged_folder(folder) as staged:
            llama_config(settings, tokenizer).save_pretrained(staged)
            tokenizer.save_pretrained(staged)
    return folder


def _base_folder(settings: BaseSettings) -> Path:
    return cache_root() / "embedded-base" / settings.fingerprint()


def build_embedded_base(
    folder: Path,
    *,
    num_steps: int | None = None,
    settings: BaseSettings | None = None,
    progress: bool = False,
) -> None:
    """Build a base into `folder`; equal settings give equal weights on the same machine.

    Args:
        folder: Existing or new folder for the model files.
        num_steps: Overrides the number of training steps; a few are enough for tests.
        settings: All other choices.
        progress: Show a progress bar on the terminal.

    Raises:
        OSError: The folder cannot be written.
    """
    settings = settings or BaseSettings()
    if num_steps is not None:
        settings = replace(settings, num_steps=num_steps)
    tokenizer = build_embedded_tokenizer(settings.seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        model = LlamaForCausalLM(llama_config(settings, tokenizer))
    apply_structured_start(model, num_offsets=settings.num_offsets, seed=settings.seed)
    with _step_reporter(settings.num_steps, is_shown=progress) as on_step:
        train_base(model, tokenizer, settings, on_step=on_step)
    model.generation_config = GenerationConfig(
        eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id, do_sample=False
    )
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def build_embedded_tokenizer(seed: int = 0) -> PreTrainedTokenizerFast:
    """Return the tokenizer of the embedded base."""
    sample = islice(exercises(seed + 1, longest=5), NUM_TOKENIZER_EXERCISES)
    texts = [text for exercise in sample for text in (exercise.prompt, exercise.answer)]
    return build_tokenizer([*texts, *vocabulary_texts(seed + 1)], unspaced_words=(*WORDS, *ACTIONS))


def llama_config(settings: BaseSettings, tokenizer: PreTrainedTokenizerFast) -> LlamaConfig:
    """Return the configuration of a base with this tokenizer."""
    return LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=settings.hidden_size,
        num_hidden_layers=settings.num_layers,
        num_attention_heads=settings.num_heads,
        num_key_value_heads=settings.num_heads,
        intermediate_size=settings.intermediate_size,
        initializer_range=settings.initializer_range,
        max_position_embeddings=settings.max_position_embeddings,
        rope_parameters={"rope_type": "default", "rope_theta": settings.rope_theta},
        attention_bias=True,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )


@contextlib.contextmanager
def _step_reporter(num_steps: int, *, is_shown: bool) -> Iterator[Callable[[int, float], None]]:
    columns = (
        TextColumn("Building the embedded base model"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("loss {task.fields[loss]:.2f}"),
        TimeRemainingColumn(),
    )
    console = Console(stderr=True, highlight=False)
    with Progress(*columns, console=console, disable=not is_shown) as bar:
        bar_task = bar.add_task("steps", total=num_steps, loss=float("nan"))

        def report(step: int, loss: float) -> None:
            bar.update(bar_task, completed=step, loss=loss)
            if is_shown and not console.is_terminal and step % max(1, num_steps // 10) == 0:
                console.print(f"embedded base: step {step}/{num_steps}, loss {loss:.2f}")

        yield report
