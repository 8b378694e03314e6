"""DNA of rows: cleaned the same way by columns and by rows, and counted per task."""

from __future__ import annotations

import json

import pytest

from pipeline.annotations.schema import annotation_from
from pipeline.errors import AnnotationError
from pipeline.examples import load_examples
from pipeline.yaml_reader import read_yaml

ANNOTATION = """
schema_version: 1
id: sites
task: dna_classification
source: {{files: {{train: rows.jsonl}}, licence: mit, modality: dna}}
splits: {{train: train}}
fields: {{sequence: sequence, target: label}}
labels: ["no", "yes"]
settings: {settings}
instruction: Is it a site?
"""
SEQUENCES = ["ACGTACGT", "acgtacgt", "ACGUACGU", "A", "AC", "NNNN", "ACRT", ">x\nACGT", "A C\nG"]


@pytest.fixture
def examples_of(tmp_path, monkeypatch):
    monkeypatch.setenv("TASKLOOM_CACHE", str(tmp_path / "cache"))

    def load(sequences, settings="{}"):
        rows = [{"sequence": text, "label": index % 2} for index, text in enumerate(sequences)]
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (tmp_path / "rows.jsonl").write_text(text)
        (tmp_path / "a.yaml").write_text(ANNOTATION.format(settings=settings))
        document = read_yaml(ANNOTATION.format(settings=settings), name=str(tmp_path / "a.yaml"))
        return load_examples(annotation_from(document), "train")

    return load


def test_rows_are_cleaned_in_their_places_and_changes_are_counted(examples_of):
    found = examples_of([*SEQUENCES, "", None, " "])
    cleaned = ["ACGTACGT", "ACGTACGT", "ACGTACGT", "A", "AC", "NNNN", "ACNT", "ACGT", "ACG"]
    assert [example.inputs["sequence"] for example in found] == cleaned
    assert [example.target for example in found] == ["no", "yes"] * 4 + ["no"]
    assert found.report.changed == {
        "fields.sequence: FASTA header": 1,
        "fields.sequence: IUPAC code": 1,
        "fields.sequence: U": 1,
        "fields.sequence: blanks": 1,
        "fields.sequence: lower case": 1,
    }
    assert found.report.skipped == {"fields.sequence: empty": 2, "fields.sequence: null": 1}


def test_rows_with_other_letters_are_left_out_and_counted_where_the_task_says_so(examples_of):
    found = examples_of(SEQUENCES, "{non_acgt: drop_row}")
    assert len(found) == len(SEQUENCES) - 2
    assert found.report.skipped == {"fields.sequence: not only A, C, G and T": 2}


def test_the_first_other_letter_stops_where_the_task_says_so(examples_of):
    with pytest.raises(AnnotationError, match=r"row 5: fields.sequence: 'N' is no base") as caught:
        examples_of(SEQUENCES, "{non_acgt: error}")
    assert caught.value.code == "ANN190"


def test_long_sequences_are_cut_in_bases_before_anything_else_sees_them(examples_of):
    found = examples_of(["AACCGGTT", "ACG", "a" + "C" * 999_999], "{max_bases: 4, keep: left}")
    assert [example.inputs["sequence"] for example in found] == ["AACC", "ACG", "ACCC"]
    assert found.report.changed == {
        "fields.sequence: cut": 2,
        "fields.sequence: lower case": 1,
    }


def test_a_sequence_of_a_million_bases_becomes_an_example(examples_of):
    (example,) = examples_of(["ACGTA" * 200_000])
    assert len(example.inputs["sequence"]) == 1_000_000


@pytest.mark.parametrize("settings", ["{max_bases: 0}", "{keep: middle}", "{non_acgt: skip}"])
def test_settings_that_mean_nothing_are_refused(examples_of, settings):
    with pytest.raises(AnnotationError) as caught:
        examples_of(["ACGT"], settings)
    assert caught.value.code == "ANN153"
