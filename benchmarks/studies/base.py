"""The base of the studies: a small Llama that has read the prompts of real training rows.

The embedded base knows generated texts only. This one reads, beside the same exercises, the prompts
of the training rows in a mirror: no answer, no validation or test row. What an adapter then knows
of a task it has learned itself.

    python -m benchmarks.studies.base --data-root MIRROR --to FOLDER
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import GenerationConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from pipeline.annotations.catalogue import load_catalogue
from pipeline.annotations.schema import DatasetAnnotation
from pipeline.chat.tokenise import prompt_ids_many
from pipeline.errors import PipelineError
from pipeline.examples.cache import load_examples
from pipeline.examples.normalise import splits_made
from pipeline.examples.real_rows import tasks_in_mirror
from pipeline.files import staged_folder
from pipeline.models.embedded.build import llama_config
from pipeline.models.embedded.settings import BaseSettings
from pipeline.models.embedded.structured_start import apply_structured_start
from pipeline.models.embedded.text import exercises
from pipeline.models.embedded.tokenizer import SPECIAL_TOKENS, finish_tokenizer
from pipeline.models.embedded.training import Batch, collate_texts, exercise_batches, train_on
from pipeline.templates.styles import render_conversation
from pipeline.training.environment import has_native_bfloat16
from pipeline.types import Conversation

SETTINGS = BaseSettings(
    hidden_size=192,
    intermediate_size=512,
    initializer_range=0.07,
    num_steps=1600,
    learning_rate=2e-3,
    short_list_fraction=0.1,
    flat_fraction=0.4,
)
NUM_PIECES = 3000
"""Size of the vocabulary without DNA units."""
ROWS_PER_TASK, DNA_ROWS_PER_TASK = 1500, 200
MAX_LENGTH = 384
"""Tokens of a prompt that are read."""
EXERCISES_EVERY = 4
"""Mean number of batches of prompts between two of exercises."""
_PIECES = r" ?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+|\n|[^\S\n]+"


def main() -> None:
    """Build the base."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-root", type=Path, required=True, help="the mirror")
    parser.add_argument("--to", type=Path, required=True, help="folder of the model")
    parser.add_argument("--num-steps", type=int, default=SETTINGS.num_steps)
    options = parser.parse_args()
    settings = replace(SETTINGS, num_steps=options.num_steps)
    conversations = [
        conversation
        for task in tasks_in_mirror(load_catalogue(), options.data_root)
        for conversation in prompts_of(task, options.data_root)
    ]
    random.Random(settings.seed).shuffle(conversations)
    tokenizer = build_tokenizer(conversations, settings.seed)
    rows = list(encoded(conversations, tokenizer))
    print(f"{len(rows)} prompts, {sum(map(len, rows)):,} tokens, vocabulary {len(tokenizer)}")
    with staged_folder(options.to) as staged:
        build(staged, rows, tokenizer, settings)


def prompts_of(task: DatasetAnnotation, data_root: Path) -> Iterator[Conversation]:
    """Yield the conversations of training rows, each prompt once; none where there are no rows."""
    if "train" not in splits_made(task) or task.id.startswith("box/"):
        return  # BoX words rows that other tasks bring already
    is_dna = task.source.modality == "dna"
    max_rows = DNA_ROWS_PER_TASK if is_dna else ROWS_PER_TASK
    try:
        examples = load_examples(task, "train", data_root=data_root, max_rows=max_rows)
    except PipelineError:
        return
    for example in examples:
        yield render_conversation(example, examples.spec)


def build_tokenizer(conversations: list[Conversation], seed: int) -> PreTrainedTokenizerFast:
    """Return a byte-level BPE tokenizer trained on prompts and exercises, with DNA units."""
    texts = [message.content for item in conversations for message in item.messages[:-1]]
    for exercise in islice(exercises(seed + 1, longest=4), 6000):
        texts += [exercise.prompt, exercise.answer]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_PIECES), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=NUM_PIECES,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    without_dna = (text for text in texts if "<dna>" not in text)
    tokenizer.train_from_iterator(without_dna, trainer)
    return finish_tokenizer(tokenizer)


def encoded(
    conversations: list[Conversation], tokenizer: PreTrainedTokenizerFast
) -> Iterator[list[int]]:
    """Yield the ids of each prompt once, cut to `MAX_LENGTH`."""
    seen: set[tuple[int, ...]] = set()
    for start in range(0, len(conversations), 500):
        for ids in prompt_ids_many(conversations[start : start + 500], tokenizer):
            cut = tuple(ids[:MAX_LENGTH])
            if cut not in seen:
                seen.add(cut)
                yield list(cut)


def reading_batches(
    rows: list[list[int]], tokenizer: PreTrainedTokenizerFast, settings: BaseSettings
) -> Iterator[Batch]:
    """Yield batches without end: prompts of like length, and exercises in between."""
    generator = random.Random(settings.seed)
    exercise = exercise_batches(tokenizer, settings)
    while True:
        generator.shuffle(rows)
        for start in range(0, len(rows), 1024):
            group = sorted(rows[start : start + 1024], key=len)
            while group:
                size = max(1, settings.tokens_per_step // len(group[-1]))
                yield collate_texts(group[-size:], pad_token_id=int(tokenizer.pad_token_id))
                del group[-size:]
                if generator.randrange(EXERCISES_EVERY) == 0:
                    yield next(exercise)


def build(
    folder: Path,
    rows: list[list[int]],
    tokenizer: PreTrainedTokenizerFast,
    settings: BaseSettings,
) -> None:
    """Train the base and write it."""
    torch.manual_seed(settings.seed)
    model = LlamaForCausalLM(llama_config(settings, tokenizer))
    apply_structured_start(model, num_offsets=settings.num_offsets, seed=settings.seed)
    started = time.monotonic()

    def report(step: int, loss: float) -> None:
        if step % 50 == 0:
            seconds = time.monotonic() - started
            print(f"step {step}/{settings.num_steps} loss {loss:.3f} {seconds:.0f} s", flush=True)

    batches = reading_batches(rows, tokenizer, settings)
    is_fast = has_native_bfloat16(torch.device("cpu"))
    train_on(model, batches, settings, on_step=report, in_bfloat16=is_fast)
    model.generation_config = GenerationConfig(
        eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id, do_sample=False
    )
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


if __name__ == "__main__":
    main()
