"""Peak memory of normalising and caching against the number of rows, one new process each.

Flat means: ten times the rows, about the same peak. `unique` and its relatives remember 11 to 44
bytes per different key, which is measured too.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.normalise_cases import HEADER, PAIR, WORDS
from benchmarks.paired import RESULTS, hardware

ROWS = (10_000, 100_000, 1_000_000)
CHUNK = 10_000
FEW_KEYS, ALL_KEYS = "label", "hypothesis"

EXPRESSIONS = """\
task: classification
rows: [{where: {of: label, ge: 0}}]
fields:
  text: {clean: {text: "{premise} {hypothesis}"}, steps: [strip, {sub: [" +", " "]}]}
  target: {map: label, to: {"0": {const: a}, "1": {const: b}, "2": {const: c}}}
labels: [a, b, c]
"""
BY_ROWS = """\
task: text
rows: [%s]
fields: {text: premise, target: hypothesis}
"""
TASKS = {
    "columns": PAIR,
    "expressions": EXPRESSIONS,
    "explode": """\
task: text
rows: [{explode: {clean: premise, steps: [{split: "."}]}}]
fields: {text: item, target: hypothesis}
""",
    "unique, all keys differ": BY_ROWS % f"{{unique: {ALL_KEYS}}}",
    "cap_per, few keys": BY_ROWS % f"{{cap_per: {FEW_KEYS}, max: 100000000}}",
}
RUNS = (
    *((task, "parquet", ROWS) for task in TASKS),
    ("columns", "jsonl", ROWS),
    ("columns", "csv", ROWS),
    ("expressions", "jsonl", ROWS[:2]),
)


@dataclass(frozen=True)
class Peak:
    """One process."""

    task: str
    form: str
    num_rows: int
    peak_mib: float
    """Highest resident memory, the interpreter and its libraries included."""
    before_mib: float
    """Resident memory before the first row was read."""
    seconds: float
    verify_seconds: float
    """Time to verify the finished cache entry by SHA-256."""
    cache_mib: float


def main() -> None:
    """Measure all runs and write `results/memory.json`."""
    peaks: list[Peak] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for count in ROWS:
            write_files(folder, count)
            for task, form, counts in RUNS:
                if count in counts:
                    peaks.append(_measured(folder, task, form, count))
                    print(_line(peaks[-1]), flush=True)
    RESULTS.mkdir(exist_ok=True)
    record = {"hardware": hardware(), "peaks": [asdict(peak) for peak in peaks]}
    (RESULTS / "memory.json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def write_files(folder: Path, count: int) -> None:
    """Write `count` rows in every format, a chunk at a time."""
    import pyarrow as pa
    import pyarrow.csv as pc
    import pyarrow.parquet as pq

    schema = pa.schema(
        [("premise", pa.string()), ("hypothesis", pa.string()), ("label", pa.int64())]
    )
    with (
        pq.ParquetWriter(folder / "rows.parquet", schema) as parquet,
        pc.CSVWriter(folder / "rows.csv", schema) as table,
        (folder / "rows.jsonl").open("w", encoding="utf-8") as lines,
    ):
        for chunk in _chunks(count):
            batch = pa.Table.from_pylist(chunk, schema)
            parquet.write_table(batch)
            table.write_table(batch)
            lines.writelines(json.dumps(row) + "\n" for row in chunk)


def _chunks(count: int) -> Iterator[list[dict[str, object]]]:
    generator = random.Random(0)
    for start in range(0, count, CHUNK):
        yield [
            {
                "premise": " ".join(generator.choices(WORDS, k=12)) + ". " + str(number),
                "hypothesis": f"{generator.choice(WORDS)} {number}",
                "label": number % 3,
            }
            for number in range(start, min(start + CHUNK, count))
        ]


def _measured(folder: Path, task: str, form: str, count: int) -> Peak:
    (folder / "task.yaml").write_text(HEADER.format(file=f"rows.{form}") + TASKS[task])
    with tempfile.TemporaryDirectory(dir=folder) as cache:
        environment = {
            **os.environ,
            "TASKLOOM_CACHE": cache,
            "HF_HOME": cache,
            "TASKLOOM_NUM_PROC": "1",
        }
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.bench_memory", str(folder / "task.yaml")],
            capture_output=True,
            text=True,
            check=True,
            env=environment,
        )
    return Peak(task=task, form=form, num_rows=count, **json.loads(done.stdout))


def _line(peak: Peak) -> str:
    return (
        f"{peak.task}, {peak.form}, {peak.num_rows:,} rows: peak {peak.peak_mib:.0f} MiB "
        f"({peak.peak_mib - peak.before_mib:.0f} above the start), {peak.seconds:.1f} s, "
        f"cache of {peak.cache_mib:.0f} MiB verified in {peak.verify_seconds:.2f} s"
    )


def measure(file: Path) -> dict[str, float]:
    """Normalise and cache in this process and return what it took."""
    from pipeline.annotations.schema import load_annotation
    from pipeline.examples.cache import load_examples
    from pipeline.files import is_complete_folder

    annotation = load_annotation(file)
    before = _memory("VmRSS")
    started = time.perf_counter()
    examples = load_examples(annotation, "train")
    seconds = time.perf_counter() - started
    peak = _memory("VmHWM")
    folder = examples._path.parent
    started = time.perf_counter()
    assert is_complete_folder(folder)
    return {
        "peak_mib": peak,
        "before_mib": before,
        "seconds": seconds,
        "verify_seconds": time.perf_counter() - started,
        "cache_mib": sum(path.stat().st_size for path in folder.iterdir()) / 2**20,
    }


def _memory(key: str) -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{key}:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError(f"/proc/self/status has no {key}")


if __name__ == "__main__":
    print(json.dumps(measure(Path(sys.argv[1]))))
