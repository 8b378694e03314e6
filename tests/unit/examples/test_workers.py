import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import pipeline
from pipeline.errors import AnnotationError, SourceError
from pipeline.examples import load_examples, making, normalise, workers
from pipeline.files import cache_root

TASK = """
task: classification
splits: {train: train}
rows: [{where: {of: label, ne: 5}}]
fields: {text: {text: "T {text}"}, target: label}
labels: [a, b, c]
"""
EXPLODED = """
task: classification
splits: {train: train}
rows: [{explode: parts}]
fields: {text: item, target: label}
labels: [a, b, c]
"""
ROWS = [
    {"text": f"text {i}" if i % 7 else None, "label": i % 3 if i % 11 else 5, "parts": ["x", "yy"]}
    for i in range(600)
]
EXPLODABLE = [{**row, "label": 1} for row in ROWS]


@pytest.fixture
def many_batches(monkeypatch):
    """Read small batches, and start other processes after the second one."""
    monkeypatch.setattr("pipeline.sources.json_lines.BLOCK_BYTES", 2000)
    monkeypatch.setattr(normalise, "FIRST_BATCHES", 2)
    monkeypatch.setattr(normalise, "SLOW_SECONDS", 0.0)


@pytest.mark.parametrize(("text", "rows"), [(TASK, ROWS), (EXPLODED, EXPLODABLE)])
def test_several_processes_leave_the_bytes_of_one(
    annotate, mirror, monkeypatch, many_batches, text, rows
):
    root, annotation = mirror(train=rows), annotate(text)
    one = load_examples(annotation, "train", data_root=root, num_proc=1)
    content = one._path.read_bytes()
    monkeypatch.setattr("pipeline.examples.cache.code_fingerprint", lambda: "again")
    started = []
    pool = workers.ProcessPoolExecutor
    monkeypatch.setattr(
        workers, "ProcessPoolExecutor", lambda n, **k: started.append(n) or pool(n, **k)
    )
    two = load_examples(annotation, "train", data_root=root, num_proc=2)
    assert started == [2]
    assert not two.report.is_cached
    assert two._path.read_bytes() == content
    assert (two.report.skipped, two.report.num_rows) == (one.report.skipped, 600)


def test_a_mistake_in_another_process_is_told_as_in_this_one(annotate, mirror, many_batches):
    rows = [*ROWS, {"text": "x", "label": "other", "parts": []}]
    root, annotation = mirror(train=rows), annotate(TASK)
    messages = []
    for num_proc in (1, 2):
        with pytest.raises(AnnotationError) as caught:
            load_examples(annotation, "train", data_root=root, num_proc=num_proc)
        messages.append(str(caught.value))
    assert messages[0] == messages[1]
    assert "row 600: fields.target" in messages[0]
    assert [path for path in cache_root().rglob("*") if path.is_file()] == []


class Deadly(making.BatchMaker):
    """Stands for whatever kills a process, such as the kernel when memory runs out."""

    def encode(self, batch):
        if multiprocessing.parent_process() is not None:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().encode(batch)


def _deadly_maker(job):
    return Deadly(job.annotation, job.class_names, job.side_files.__getitem__)


def _start_deadly(job):
    workers._maker = _deadly_maker(job)


def test_a_killed_process_is_told_and_leaves_nothing_behind(
    annotate, mirror, monkeypatch, many_batches
):
    monkeypatch.setattr(workers, "_start_batches", _start_deadly)
    root, annotation = mirror(train=ROWS), annotate(TASK)
    with pytest.raises(SourceError, match=r"demo: one of 2 processes died.*\[SRC161\]"):
        load_examples(annotation, "train", data_root=root, num_proc=2)
    assert [path for path in cache_root().rglob("*") if path.is_file()] == []
    assert len(load_examples(annotation, "train", data_root=root, num_proc=1)) > 0


def test_the_number_of_processes_is_what_the_user_says_else_one_per_core(monkeypatch):
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(6)))
    assert workers.automatic_num_proc() == 6
    assert workers.automatic_num_proc(3) == 3
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    assert workers.automatic_num_proc() == 1
    monkeypatch.setenv("TASKLOOM_NUM_PROC", "5")
    assert workers.automatic_num_proc() == 5
    monkeypatch.setenv("TASKLOOM_NUM_PROC", "many")
    with pytest.raises(SourceError, match=r"TASKLOOM_NUM_PROC: .* got 'many'.*\[SRC160\]"):
        workers.automatic_num_proc()


SCRIPT = """
import os, sys
from pathlib import Path
from pipeline.annotations.schema import load_annotation
from pipeline.examples import load_examples, normalise
normalise.FIRST_BATCHES, normalise.SLOW_SECONDS = 1, 0.0
import pipeline.sources.json_lines as j
j.BLOCK_BYTES = 2000
print("main", flush=True)
if os.environ.get("WAIT"):
    from pipeline.examples import cache
    write = cache._write
    def slow(path, schema, batches):
        def told():
            import multiprocessing
            for number, batch in enumerate(batches):
                yield batch
                if number == 2:
                    pids = [p.pid for p in multiprocessing.active_children()]
                    print("workers", *pids, flush=True)
                    import time; time.sleep(60)
        return write(path, schema, told())
    cache._write = slow
annotation, root = load_annotation(Path(sys.argv[1])), Path(sys.argv[2])
print(len(load_examples(annotation, "train", data_root=root, num_proc=2)))
"""


def run_script(folder, annotation, root, **environment):
    script = folder / "script.py"
    script.write_text(SCRIPT)
    return subprocess.Popen(
        [sys.executable, str(script), str(annotation.path), str(root)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(pipeline.__file__).parents[1]), **environment},
    )


def test_a_script_without_a_guard_is_not_run_again_by_its_processes(annotate, mirror, tmp_path):
    root, annotation = mirror(train=ROWS), annotate(TASK)
    with run_script(tmp_path, annotation, root) as process:
        output, _ = process.communicate(timeout=120)
    num_examples = len(load_examples(annotation, "train", data_root=root))
    assert output.split() == ["main", str(num_examples)]


def test_processes_end_with_the_one_that_started_them(annotate, mirror, tmp_path):
    root, annotation = mirror(train=ROWS), annotate(TASK)
    with run_script(tmp_path, annotation, root, WAIT="1") as process:
        assert process.stdout.readline() == "main\n"
        pids = [int(pid) for pid in process.stdout.readline().split()[1:]]
        assert len(pids) >= 1
        process.kill()
        process.wait()
        deadline = time.monotonic() + 30
        while any(_is_running(pid) for pid in pids) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not any(_is_running(pid) for pid in pids)


def _is_running(pid):
    status = Path(f"/proc/{pid}/stat")
    return status.exists() and status.read_text().rpartition(")")[2].split()[0] != "Z"
