"""Our trainer with PEFT LoRA against stock `trl.SFTTrainer` with the same LoRA, model and data.

Both train the same examples in the same process in turns: padded against padded, ours packed
against TRL padded (its default), and packed against packed. Then what the statistics per task cost,
and the peak memory of each in a process of its own.
"""

from __future__ import annotations

import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.paired import Comparison, Fact, compare, report

NUM_EXAMPLES, NUM_TASKS = 192, 4
MAX_LENGTH = 256
ROWS_PER_STEP = 8
NUM_ANSWER_TOKENS = 8
ROUNDS = 3
LORA = {"r": 16, "lora_alpha": 32, "target_modules": "all-linear"}
SHARE_OF_STEP = 1.0
"""Percent of a step that statistics per task may cost."""
WAYS = ("ours-padded", "ours-packed", "trl-padded", "trl-packed")


def main() -> None:
    """Run the comparisons and keep the figures."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        trainers = {way: build(way, folder) for way in WAYS}
        num_tokens = sum(lengths())
        pairs = [
            ("train, padded rows", "ours-padded", "trl-padded"),
            ("train, ours packed against padded", "ours-packed", "trl-padded"),
            ("train, packed rows", "ours-packed", "trl-packed"),
        ]
        comparisons = [
            _compare(title, trainers[ours], trainers[theirs], num_tokens)
            for title, ours, theirs in pairs
        ]
        facts = [cost_of_statistics(build("ours-packed", folder / "cost"))]
        facts += [
            Fact(f"peak memory, {way}", _peak_megabytes(way), "MB")
            for way in ("ours-padded", "trl-padded")
        ]
    report(comparisons, file="train.json", facts=facts)


def lengths() -> list[int]:
    """Return the lengths of all examples: many short ones, few long ones, as in practice."""
    generator = random.Random(0)
    return [min(MAX_LENGTH, 24 + int(generator.expovariate(1 / 60))) for _ in range(NUM_EXAMPLES)]


def build(way: str, folder: Path) -> Callable[[], None]:
    """Return what trains every example once, and can be called again."""
    who, _, rows = way.partition("-")
    maker = _ours if who == "ours" else _theirs
    trainer = maker(folder / way, packing=rows == "packed")
    return lambda: trainer.train() and None


def _model():
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=4096,
        hidden_size=192,
        intermediate_size=512,
        num_hidden_layers=4,
        num_attention_heads=6,
        num_key_value_heads=6,
        tie_word_embeddings=True,
    )
    return LlamaForCausalLM(config)


def _ours(folder: Path, *, packing: bool):
    from peft import LoraConfig, get_peft_model

    from pipeline.mixture.batches import BatchShape
    from pipeline.mixture.build import MixtureSettings, build_batches
    from pipeline.mixture.rates import RateRule
    from pipeline.recipe import Recipe
    from pipeline.training.arguments import build_training_arguments
    from pipeline.training.trainer import MultiTaskTrainer
    from tests.unit.mixture.tasks import make_task

    names = [f"task{number}" for number in range(NUM_TASKS)]
    tasks = [
        make_task(folder, name, lengths()[number::NUM_TASKS], num_answer_tokens=NUM_ANSWER_TOKENS)
        for number, name in enumerate(names)
    ]
    recipe = Recipe.model_validate(
        {
            "model_name_or_path": "unused",
            "tasks": names,
            "output_dir": str(folder / "run"),
            "save_strategy": "no",
            "bf16": False,
            "max_length": MAX_LENGTH,
            "per_device_train_batch_size": ROWS_PER_STEP,
        }
    )
    settings = MixtureSettings(
        max_length=MAX_LENGTH,
        rule=RateRule(policy="proportional"),
        packing=packing,
        num_epochs=1.0,
    )
    shape = BatchShape(per_device_batch_size=ROWS_PER_STEP)
    batches = build_batches(tasks, settings, shape, pad_token_id=0)
    arguments = build_training_arguments(recipe, folder / "run")
    arguments.max_steps = batches.num_steps
    return MultiTaskTrainer(
        get_peft_model(_model(), LoraConfig(**LORA)),
        arguments,
        tokenizer=_tokenizer(),
        train_loader=batches.loader(start_step=0),
        task_names=names,
        checkpoint_parts={"data": batches},
    )


def _theirs(folder: Path, *, packing: bool):
    from datasets import Dataset, disable_progress_bars
    from peft import LoraConfig
    from transformers import PrinterCallback
    from trl import SFTConfig, SFTTrainer

    disable_progress_bars()
    generator = random.Random(1)
    rows = []
    for length in lengths():
        ids = [generator.randrange(10, 90) for _ in range(length)]
        mask = [0] * (length - NUM_ANSWER_TOKENS) + [1] * NUM_ANSWER_TOKENS
        rows.append({"input_ids": ids, "completion_mask": mask})
    arguments = SFTConfig(
        output_dir=str(folder / "run"),
        num_train_epochs=1,
        per_device_train_batch_size=ROWS_PER_STEP,
        learning_rate=2e-4,
        max_length=MAX_LENGTH,
        packing=packing,
        gradient_checkpointing=False,
        bf16=False,
        use_cpu=True,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
    )
    trainer = SFTTrainer(
        model=_model(),
        args=arguments,
        train_dataset=Dataset.from_list(rows),
        processing_class=_tokenizer(),
        peft_config=LoraConfig(**LORA, task_type="CAUSAL_LM"),
    )
    trainer.remove_callback(PrinterCallback)
    return trainer


def _tokenizer():
    from benchmarks.small_tokenizer import build_tokenizer

    return build_tokenizer()


def _compare(
    title: str, ours: Callable[[], None], theirs: Callable[[], None], num_tokens: int
) -> Comparison:
    # Once each for caches and lazy imports.
    ours()
    theirs()
    return compare(
        title,
        ours,
        theirs,
        peer="trl.SFTTrainer",
        unit="tokens",
        num_items=num_tokens,
        rounds=ROUNDS,
    )


def cost_of_statistics(train: Callable[[], None]) -> Fact:
    """Return the share of training time spent on losses, accuracies and tokens per task."""
    from pipeline.training.task_meter import TaskMeter

    spent = 0.0
    before = {name: getattr(TaskMeter, name) for name in ("add", "sums", "loss_since", "drain")}

    def timed(work: Callable[..., object]) -> Callable[..., object]:
        def wrapper(*args: object, **options: object) -> object:
            nonlocal spent
            started = time.perf_counter()
            try:
                return work(*args, **options)
            finally:
                spent += time.perf_counter() - started

        return wrapper

    train()
    try:
        for name, work in before.items():
            setattr(TaskMeter, name, timed(work))
        started = time.perf_counter()
        train()
        total = time.perf_counter() - started
    finally:
        for name, work in before.items():
            setattr(TaskMeter, name, work)
    share = 100 * spent / total
    return Fact("statistics per task, share of training time", share, "%", at_most=SHARE_OF_STEP)


def _peak_megabytes(way: str) -> float:
    """Return the peak memory of one run in a fresh process, in MB."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.bench_train", way],
        capture_output=True,
        text=True,
        check=True,
    )
    return float(json.loads(done.stdout.splitlines()[-1])["megabytes"])


if __name__ == "__main__":
    if sys.argv[1:] and sys.argv[1] in WAYS:
        with tempfile.TemporaryDirectory() as place:
            build(sys.argv[1], Path(place))()
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(json.dumps({"megabytes": round(peak, 1)}))
    else:
        main()
