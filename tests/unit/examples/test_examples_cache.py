import contextlib
import multiprocessing
import pickle
import random
import shutil

import pytest

from pipeline.errors import AnnotationError, OutputError, PipelineErrors, SourceError
from pipeline.examples import cache, load_examples, report_to_json
from pipeline.files import MANIFEST_NAME, cache_root

TASK = """
task: classification
splits: {train: train, test: test}
fields: {text: text, target: label}
labels: ["no", "yes"]
"""
ROWS = [{"text": f"text {i}", "label": i % 2} for i in range(300)]


def folders():
    root = cache_root() / "examples"
    return sorted(path.parent for path in root.rglob(MANIFEST_NAME))


def test_examples_are_made_once(annotate, mirror):
    root = mirror(train=ROWS)
    annotation = annotate(TASK)
    told = []
    first = load_examples(annotation, "train", data_root=root, progress=told.append)
    again = load_examples(annotation, "train", data_root=root, progress=told.append)
    assert told == [300]
    assert (first.report.is_cached, again.report.is_cached) == (False, True)
    assert list(first) == list(again)
    assert first.spec.labels == ("no", "yes")
    assert first[1].target == "yes"
    assert first.report.fingerprint == again.report.fingerprint
    assert first.report.origin == str(root / "owner" / "name")
    assert report_to_json(again.report) == {
        "task": "demo",
        "split": "train",
        "origin": str(root / "owner" / "name"),
        "fingerprint": first.report.fingerprint,
        "num_rows": 300,
        "num_available": 300,
        "num_examples": 300,
        "skipped": {},
        "changed": {},
        "seconds": first.report.seconds,
        "is_cached": True,
    }


def test_what_examples_depend_on_is_in_the_fingerprint(annotate, mirror, monkeypatch):
    root = mirror(train=ROWS, test=ROWS[:9])

    def fingerprint(text=TASK, split="train"):
        return load_examples(annotate(text), split, data_root=root).report.fingerprint

    first = fingerprint()
    assert fingerprint(TASK + "notes: other words\n") == first
    assert fingerprint(TASK + "metrics: [macro_f1]\n") == first
    changed = [
        fingerprint(split="test"),
        fingerprint(TASK.replace('"no", "yes"', '"off", "on"')),
        fingerprint(TASK.replace("text: text", "text: {clean: text, steps: [strip]}")),
    ]
    mirror(train=[*ROWS, {"text": "more", "label": 1}])
    changed.append(fingerprint())
    monkeypatch.setattr(cache, "code_fingerprint", lambda: "another version")
    changed.append(fingerprint())
    assert len({first, *changed}) == 6


def damage(path, rng):
    content = bytearray(path.read_bytes())
    kinds = ["flip", "cut", "empty", "remove", "add"]
    # Some bytes of the manifest, such as its last newline, say nothing.
    kind = rng.choice(kinds[2:] if path.name == MANIFEST_NAME else kinds)
    if kind == "remove":
        path.unlink()
    elif kind == "add":
        path.with_name("extra.bin").write_bytes(b"x")
    elif kind == "flip":
        position = rng.randrange(len(content))
        content[position] ^= 1 << rng.randrange(8)
        path.write_bytes(bytes(content))
    else:
        path.write_bytes(bytes(content[: rng.randrange(len(content)) if kind == "cut" else 0]))


def test_a_damaged_cache_is_noticed_and_built_again(annotate, mirror):
    root, annotation = mirror(train=ROWS), annotate(TASK)
    expected = list(load_examples(annotation, "train", data_root=root))
    rng = random.Random(5)
    for _ in range(30):
        [folder] = folders()
        damage(rng.choice(sorted(folder.iterdir())), rng)
        examples = load_examples(annotation, "train", data_root=root)
        assert not examples.report.is_cached
        assert list(examples) == expected
    assert load_examples(annotation, "train", data_root=root).report.is_cached


def test_an_interrupted_build_leaves_nothing_behind(annotate, mirror, monkeypatch):
    root, annotation = mirror(train=ROWS), annotate(TASK)

    def interrupt(_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        load_examples(annotation, "train", data_root=root, progress=interrupt)
    assert [path for path in cache_root().rglob("*") if path.is_file()] == []
    assert len(load_examples(annotation, "train", data_root=root)) == 300


def build(annotation, root, results):
    examples = load_examples(annotation, "train", data_root=root)
    results.put([example.target for example in examples])


def test_processes_that_build_at_once_all_get_the_same(annotate, mirror):
    root, annotation = mirror(train=ROWS), annotate(TASK)
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    for _ in range(3):
        shutil.rmtree(cache_root(), ignore_errors=True)
        workers = [
            context.Process(target=build, args=(annotation, root, results)) for _ in range(4)
        ]
        for worker in workers:
            worker.start()
        found = [results.get(timeout=60) for _ in workers]
        for worker in workers:
            worker.join()
        assert found == [[("no", "yes")[i % 2] for i in range(300)]] * 4
        assert load_examples(annotation, "train", data_root=root).report.is_cached


def build_and_tell(annotation, root, results, *, locks):
    if not locks:
        cache.one_at_a_time = lambda path: contextlib.nullcontext()
    examples = load_examples(annotation, "train", data_root=root)
    results.put((examples.report.is_cached, len(list(examples))))


@pytest.mark.parametrize("locks", [True, False])
def test_of_processes_that_want_the_same_one_builds_where_there_are_locks(annotate, mirror, locks):
    root, annotation = mirror(train=ROWS * 20), annotate(TASK)
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    workers = [
        context.Process(
            target=build_and_tell, args=(annotation, root, results), kwargs={"locks": locks}
        )
        for _ in range(4)
    ]
    for worker in workers:
        worker.start()
    found = [results.get(timeout=60) for _ in workers]
    for worker in workers:
        worker.join()
    assert [count for _, count in found] == [6000] * 4
    num_built = sum(not is_cached for is_cached, _ in found)
    assert num_built == 1 if locks else num_built >= 1
    left = {path.name for path in folders()[0].parent.iterdir()}
    assert left == {folders()[0].name}


def test_a_folder_is_hashed_once_per_process_and_again_when_it_changes(
    annotate, mirror, monkeypatch
):
    root, annotation = mirror(train=ROWS), annotate(TASK)
    expected = list(load_examples(annotation, "train", data_root=root))
    cache._is_complete.cache_clear()
    hashed = []
    is_complete = cache.is_complete_folder
    monkeypatch.setattr(
        cache, "is_complete_folder", lambda path: hashed.append(path) or is_complete(path)
    )
    for _ in range(3):
        assert load_examples(annotation, "train", data_root=root).report.is_cached
    assert len(hashed) == 1
    [folder] = folders()
    content = bytearray((folder / cache.EXAMPLES_FILE).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / cache.EXAMPLES_FILE).write_bytes(bytes(content))
    again = load_examples(annotation, "train", data_root=root)
    assert not again.report.is_cached
    assert list(again) == expected


def test_a_rename_that_another_process_won_is_no_error(annotate, mirror, monkeypatch):
    root, annotation = mirror(train=ROWS), annotate(TASK)
    staged_folder = cache.staged_folder

    class Losing:
        def __init__(self, path):
            self.path, self.inner = path, staged_folder(path)

        def __enter__(self):
            return self.inner.__enter__()

        def __exit__(self, *error):
            self.inner.__exit__(*error)
            raise OutputError("OUT001", "cannot write here: Directory not empty")

    monkeypatch.setattr(cache, "staged_folder", Losing)
    assert len(load_examples(annotation, "train", data_root=root)) == 300
    monkeypatch.setattr(cache, "is_complete_folder", lambda path: False)
    with pytest.raises(OutputError):
        load_examples(annotation, "train", data_root=root)


def test_caps_come_last_and_never_change_labels(annotate, mirror):
    root = mirror(train=ROWS)
    everything = {
        example.key: example for example in load_examples(annotate(TASK), "train", data_root=root)
    }
    capped = load_examples(annotate(TASK + "cap: {train: 50, seed: 3}\n"), "train", data_root=root)
    assert len(capped) == capped.report.num_examples == 50
    assert capped.report.num_available == 300
    assert all(everything[example.key] == example for example in capped)
    few = load_examples(
        annotate(TASK + "cap: {train: 50, seed: 3}\n"), "train", data_root=root, max_rows=7
    )
    assert len(few) == 7
    assert {example.key for example in few} < {example.key for example in capped}
    other = load_examples(annotate(TASK), "train", data_root=root, max_rows=7, seed=1)
    assert [example.key for example in few] != [example.key for example in other]
    assert [few[i] for i in range(7)] == list(few)
    assert few[-1] == list(few)[-1]


def test_a_cap_does_not_look_at_labels(annotate, mirror):
    text = TASK + "cap: {train: 20}\n"
    keys = [e.key for e in load_examples(annotate(text), "train", data_root=mirror(train=ROWS))]
    turned = [{**row, "label": 1 - row["label"]} for row in ROWS]
    root = mirror(train=turned)
    assert [e.key for e in load_examples(annotate(text), "train", data_root=root)] == keys


def test_examples_are_found_by_position(annotate, mirror):
    examples = load_examples(annotate(TASK), "train", data_root=mirror(train=ROWS))
    assert examples[0].key == "demo/train/0"
    assert examples[299] == examples[-1]
    for position in (300, -301):
        with pytest.raises(IndexError):
            examples[position]


def test_examples_can_be_sent_to_another_process(annotate, mirror):
    root = mirror(train=ROWS)
    examples = load_examples(annotate(TASK), "train", data_root=root, max_rows=10)
    content = pickle.dumps(examples)
    assert len(content) < 3000
    assert list(pickle.loads(content)) == list(examples)


def test_a_split_without_any_example_is_an_error_with_the_reasons(annotate, mirror):
    root = mirror(train=[{"text": "", "label": 1}, {"text": None, "label": 1}] * 2)
    with pytest.raises(SourceError) as caught:
        load_examples(annotate(TASK), "train", data_root=root)
    assert str(caught.value) == (
        "demo: the train split has no example: fields.text: empty (2), fields.text: null (2). "
        f"Look at the rows in {root}/owner/name. [SRC116]"
    )


def test_a_split_the_task_lacks_is_told(annotate, mirror):
    with pytest.raises(SourceError, match=r"the task has no validation split; it has train, test"):
        load_examples(annotate(TASK), "validation", data_root=mirror(train=ROWS))


def test_columns_are_checked_before_any_row_is_read(annotate, mirror):
    root = mirror(train=ROWS)
    with pytest.raises(AnnotationError) as caught:
        load_examples(annotate(TASK.replace("text: text", "text: txt")), "train", data_root=root)
    assert caught.value.code == "ANN104"
    wrong = TASK.replace("text: text, target: label", "text: txt, target: lable")
    with pytest.raises(PipelineErrors):
        load_examples(annotate(wrong), "train", data_root=root)


def test_a_broken_row_is_told_and_nothing_is_cached(annotate, mirror):
    root = mirror(train=['{"text": "a", "label": 0}', '{"text": "b", "label": }'])
    with pytest.raises(SourceError, match=r"train.jsonl:2:24: not JSON"):
        load_examples(annotate(TASK), "train", data_root=root)
    assert folders() == []


def test_a_cache_that_cannot_be_written_is_told(annotate, mirror, monkeypatch, tmp_path):
    root = mirror(train=ROWS)
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("TASKLOOM_CACHE", str(tmp_path / "file"))
    with pytest.raises(OutputError, match="OUT001"):
        load_examples(annotate(TASK), "train", data_root=root)
