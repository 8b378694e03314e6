"""What batches cost: memory by rows, time to the first batch, share of a training step.

Memory and start are measured in processes of their own, which import and then do one thing:
`python -m benchmarks.mixture_costs tokenise|train|start FOLDER [ROWS]`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.paired import Fact

TOKENISED_ROWS = (10_000, 60_000)
"""Short conversations through renderer, tokenizer and files."""
TRAINED_ROWS = (10_000, 1_000_000)
"""Examples of 40 tokens behind a schedule."""
TRAINED_STEPS = 100
NUM_TASKS, ROWS_PER_TASK = 500, 100
SECONDS_TO_FIRST_BATCH = 5.0
SHARE_OF_STEP = 1.0
ANNOTATION = """\
schema_version: 1
id: bench/t{number}
task: classification
source: {{hub: bench/t{number}, licence: cc0-1.0}}
splits: {{train: train}}
fields: {{text: text, target: label}}
labels: [quiet, loud]
instruction: Is the place quiet or loud?
"""


def memory() -> list[Fact]:
    """Return the peak memory of making and of reading tokens, by rows."""
    facts = []
    with tempfile.TemporaryDirectory() as name:
        for verb, sizes in (("tokenise", TOKENISED_ROWS), ("train", TRAINED_ROWS)):
            peaks = [_in_process(Path(name), verb, str(rows))["megabytes"] for rows in sizes]
            facts += [
                Fact(f"{verb}, {rows:,} rows: memory beyond imports", peak, "MB")
                for rows, peak in zip(sizes, peaks, strict=True)
            ]
            per_row = (peaks[1] - peaks[0]) * 2**20 / (sizes[1] - sizes[0])
            facts.append(Fact(f"{verb}: memory per further row", per_row, "bytes"))
    return facts


def first_batch() -> list[Fact]:
    """Return the time from a warm cache to the first batch of many tasks."""
    with tempfile.TemporaryDirectory() as name:
        _write_tasks(Path(name))
        os.environ["TASKLOOM_CACHE"] = f"{name}/cache"
        _in_process(Path(name), "start")
        found = _in_process(Path(name), "start")
    title = f"first batch of {NUM_TASKS} tasks, warm cache"
    return [Fact(title, found["seconds"], "s", at_most=SECONDS_TO_FIRST_BATCH)]


def share_of_step() -> list[Fact]:
    """Return what schedule, packing and collating take of a training step on this machine."""
    import numpy as np

    with tempfile.TemporaryDirectory() as name:
        lengths = np.random.default_rng(0).integers(20, 220, 20_000)
        tasks = [_write_tokens(Path(name) / task, lengths) for task in ("a", "b", "c")]
        batches = _batches(tasks, num_steps=200)
        started = time.perf_counter()
        micro_batches = list(batches.loader())
        making = (time.perf_counter() - started) / len(micro_batches)
    training = _seconds_of_step(micro_batches[:3])
    share = 100 * making / training
    return [
        Fact("schedule, pack and collate 8 rows of 512 tokens", 1000 * making, "ms"),
        Fact("training step of the embedded base's shape on this CPU", 1000 * training, "ms"),
        Fact("schedule, pack and collate as share of that step", share, "%", at_most=SHARE_OF_STEP),
    ]


def _batches(tasks, *, num_steps: int):
    from pipeline.mixture.batches import BatchShape
    from pipeline.mixture.build import MixtureSettings, build_batches

    settings = MixtureSettings(max_length=512, max_steps=num_steps)
    return build_batches(tasks, settings, BatchShape(per_device_batch_size=8), pad_token_id=0)


def _seconds_of_step(batches) -> float:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from pipeline.adapters.registry import attach_adapter
    from pipeline.models.embedded.settings import BaseSettings
    from pipeline.recipe.schema import AdapterSettings

    shape = BaseSettings()
    config = LlamaConfig(
        vocab_size=4096,
        hidden_size=shape.hidden_size,
        intermediate_size=shape.intermediate_size,
        num_hidden_layers=shape.num_layers,
        num_attention_heads=shape.num_heads,
    )
    model = attach_adapter(LlamaForCausalLM(config), AdapterSettings()).train()
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad])
    seconds = []
    for batch in batches:
        started = time.perf_counter()
        inputs = {name: batch[name] for name in ("input_ids", "labels", "position_ids")}
        model(**inputs, use_cache=False).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        seconds.append(time.perf_counter() - started)
    return min(seconds)


def _write_tasks(folder: Path) -> None:
    (folder / "annotations" / "bench").mkdir(parents=True)
    for number in range(NUM_TASKS):
        annotation = folder / "annotations" / "bench" / f"t{number}.yaml"
        annotation.write_text(ANNOTATION.format(number=number), encoding="utf-8")
        data = folder / "mirror" / "bench" / f"t{number}"
        data.mkdir(parents=True)
        rows = [
            {
                "text": f"place {number} in the year {1000 + row}",
                "label": ("quiet", "loud")[row % 2],
            }
            for row in range(ROWS_PER_TASK)
        ]
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (data / "train.jsonl").write_text(text, encoding="utf-8")
    from tests.fixtures.tiny_models import save_tiny_model

    save_tiny_model(folder / "base")


def _in_process(folder: Path, *arguments: str) -> dict[str, float]:
    verb, *rest = arguments
    command = [sys.executable, "-m", "benchmarks.mixture_costs", verb, str(folder), *rest]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    return json.loads(done.stdout.splitlines()[-1])


def _tokenise(folder: Path, num_rows: int) -> dict[str, float]:
    os.environ["TASKLOOM_CACHE"] = str(folder / f"cache-{num_rows}")
    from benchmarks.small_tokenizer import build_tokenizer
    from pipeline.mixture.tokens import tokenise_task
    from pipeline.types import Conversation, Message, TaskExample, TaskSpec

    class Made:
        """Examples that are nowhere kept."""

        spec = TaskSpec(id="bench/made", kind="text", family="bench", instruction="Say it.")

        def __len__(self) -> int:
            return num_rows

        def __getitem__(self, index: int) -> TaskExample:
            return TaskExample(
                key=f"bench/made/train/{index}",
                task="bench/made",
                split="train",
                inputs={"text": f"river {index}"},
                target="yes",
            )

        def __iter__(self):
            return (self[index] for index in range(num_rows))

    def render(example: TaskExample) -> Conversation:
        messages = (
            Message(role="user", content=example.inputs["text"]),
            Message(role="assistant", content="yes", trainable=True),
        )
        return Conversation(key=example.key, task=example.task, messages=messages)

    tokenizer = build_tokenizer()
    before = _forget_peak()
    task = tokenise_task(Made(), render, tokenizer, fingerprint="bench", max_length=64)
    assert len(task) == num_rows
    return {"megabytes": _peak() - before}


def _train(folder: Path, num_rows: int) -> dict[str, float]:
    import numpy as np
    import torch  # noqa: F401 - imports are not what is measured

    task = _write_tokens(folder / f"rows-{num_rows}", np.full(num_rows, 40))
    batches = _batches([task], num_steps=TRAINED_STEPS)
    before = _resident()
    num_batches = sum(1 for _ in batches.loader())
    assert num_batches == TRAINED_STEPS
    return {"megabytes": _resident() - before}


def _write_tokens(place: Path, lengths):
    """Return a task of examples of these lengths whose tokens are all the same."""
    import numpy as np

    from pipeline.files import staged_folder, write_json
    from pipeline.mixture.tokens import TokenizedTask

    total = int(lengths.sum())
    with staged_folder(place) as staged:
        for name, item in (("input_ids.bin", np.int32), ("loss_mask.bin", np.bool_)):
            with (staged / name).open("wb") as stream:
                for start in range(0, total, 10**6):
                    stream.write(np.ones(min(10**6, total - start), item).tobytes())
        np.concatenate(([0], np.cumsum(lengths))).astype(np.int64).tofile(staged / "offsets.bin")
        np.arange(len(lengths), dtype=np.int64).tofile(staged / "rows.bin")
        counts = {"num_rows": len(lengths), "num_examples": len(lengths), "num_tokens": total}
        write_json(staged / "meta.json", {"counts": counts | {"num_loss_tokens": total}})
    return TokenizedTask(place, place.name)


def _start(folder: Path) -> dict[str, float]:
    from accelerate import PartialState

    from pipeline.recipe import Recipe
    from pipeline.training.preparing import Maker
    from pipeline.training.preparing_together import load_tasks_together

    recipe = Recipe.model_validate(
        {
            "model_name_or_path": str(folder / "base"),
            "annotations": [str(folder / "annotations")],
            "data_root": str(folder / "mirror"),
            "tasks": [f"bench/t{number}" for number in range(NUM_TASKS)],
            "output_dir": str(folder / "run"),
            "decontaminate": "none",
        }
    )
    state = PartialState(cpu=True)
    tokenizer = Maker(recipe).tokenizer
    started = time.perf_counter()
    tasks = load_tasks_together(recipe, tokenizer, state)["train"]
    batch = next(iter(_batches(tasks, num_steps=100).loader()))
    assert batch["input_ids"].shape[0] == 8
    return {"seconds": time.perf_counter() - started}


def _forget_peak() -> float:
    """Start the peak anew; return what this process has now, in MB."""
    Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")
    return _status("VmHWM")


def _peak() -> float:
    """Return the most memory since `_forget_peak`, in MB."""
    return _status("VmHWM")


def _resident() -> float:
    """Return the memory of this process without pages of files, in MB."""
    return _status("RssAnon")


def _status(name: str) -> float:
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    (line,) = (line for line in lines if line.startswith(f"{name}:"))
    return int(line.split()[1]) / 1024


if __name__ == "__main__":
    verb, place, *sizes = sys.argv[1:]
    if verb == "start":
        result = _start(Path(place))
    else:
        result = (_tokenise if verb == "tokenise" else _train)(Path(place), int(sizes[0]))
    print(json.dumps(result))
