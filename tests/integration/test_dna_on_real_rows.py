"""DNA annotations on real rows: one table for many tasks, labels as words, strands."""

from __future__ import annotations

import collections
import json
import os
from pathlib import Path

import pytest

from pipeline.annotations.schema import annotation_from, load_annotation
from pipeline.examples import load_examples
from pipeline.yaml_reader import load_yaml

ROOT = Path(__file__).resolve().parents[2]
MIRROR = Path(os.environ.get("TASKLOOM_DATA_ROOT") or ROOT.parent / "shared" / "data")
ONE_TABLE = "derived/nt_schema_yeast_marks"
TASKS = {
    task.id: task
    for file in sorted((ROOT / "data_annotations" / "dna").glob("*.yaml"))
    for task in load_annotation(file).expanded()
}
MARKS = ["H3", "H3K14ac", "H3K36me3", "H3K4me1", "H3K4me2", "H3K4me3", "H3K79me3", "H3K9ac"]
MARKS += ["H4", "H4ac"]
"""Of yeast."""

pytestmark = [
    pytest.mark.real_data,
    pytest.mark.skipif(
        not (MIRROR / ONE_TABLE).is_dir(), reason=f"no mirror of public data at {MIRROR}"
    ),
]


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TASKLOOM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


def marks_of_one_table():
    """Return the shipped annotation of the Nucleotide Transformer, pointed at the local table."""
    document = load_yaml(ROOT / "data_annotations" / "dna" / "nt_histone_marks.yaml")
    source = document.value["source"]
    source |= {"hub": ONE_TABLE, "local": True, "how_to_get": "It is in the mirror."}
    return annotation_from(document, family="dna").expanded()


def rows_of(split):
    lines = (MIRROR / ONE_TABLE / f"{split}.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def test_one_table_gives_each_mark_its_own_rows_and_no_others():
    tasks = marks_of_one_table()
    test_rows = rows_of("test")
    for task in tasks:
        name = task.id.rpartition("/")[2]
        own = [row for row in test_rows if row["task"] == name]
        examples = list(load_examples(task, "test", data_root=MIRROR))
        assert [example.inputs["sequence"] for example in examples] == [r["sequence"] for r in own]
        assert [example.target for example in examples] == [("no", "yes")[r["label"]] for r in own]
        assert len(examples) == 100
        num_train = sum(
            len(load_examples(task, split, data_root=MIRROR)) for split in ("train", "validation")
        )
        assert num_train == 200


def test_every_row_of_the_table_belongs_to_one_of_the_ten_tasks():
    names = {task.id.rpartition("/")[2] for task in marks_of_one_table()}
    assert collections.Counter(row["task"] for row in rows_of("train")) == dict.fromkeys(names, 200)


def test_real_rows_of_the_catalogue_have_the_counts_of_their_files():
    counts = {}
    for task in TASKS.values():
        if task.verified == "rows":
            examples = load_examples(task, "test", data_root=MIRROR)
            counts[task.id] = (len(examples), sorted({example.target for example in examples}))
    yes_no = ["no", "yes"]
    marks = [f"gue/emp_{name}" for name in MARKS]
    assert {name: counts.pop(name) for name in marks} == dict.fromkeys(marks, (500, yes_no))
    assert counts == {
        "genomic_benchmarks/human_enhancers_cohn": (500, yes_no),
        "genomic_benchmarks/human_nontata_promoters": (500, yes_no),
        "genomic_benchmarks/human_ocr_ensembl": (300, yes_no),
        "gue/human_tf_0": (500, yes_no),
        "gue/mouse_0": (500, yes_no),
        "gue/prom_300_all": (500, yes_no),
        "gue/prom_300_notata": (500, yes_no),
        "gue/prom_300_tata": (500, yes_no),
        "gue/prom_core_tata": (500, yes_no),
        "gue/splice_reconstructed": (500, ["acceptor", "donor", "neither"]),
    }


def test_label_words_of_splice_sites_agree_with_the_bases_in_the_middle():
    task = TASKS["gue/splice_reconstructed"]
    sites = collections.defaultdict(list)
    for example in load_examples(task, "test", data_root=MIRROR):
        sites[example.target].append(example.inputs["sequence"][198:202])
    acceptors, donors = sites["acceptor"], sites["donor"]
    assert sum(site[:2] == "AG" for site in acceptors) > 0.95 * len(acceptors)
    assert sum(site[2:] == "GT" for site in donors) > 0.95 * len(donors)


def test_every_dna_task_reports_mcc_f1_and_accuracy():
    for task in TASKS.values():
        if task.task == "dna_classification":
            assert set(task.spec().metrics) == {"mcc", "macro_f1", "accuracy"}, task.id


def test_strands_are_alike_only_where_no_direction_is_asked_for():
    for task in TASKS.values():
        if task.task == "dna_classification" and task.full_settings()["reverse_complement"]:
            assert not any(word in task.id for word in ("prom", "splice", "covid", "EPI")), task.id
