import subprocess
import sys
import time

import pytest

from pipeline.annotations.catalogue import builtin_folder, load_catalogue
from pipeline.errors import AnnotationError, PipelineErrors


@pytest.fixture
def write(tmp_path, base_text):
    def put(name, **replaced):
        text = base_text
        for old, new in replaced.items():
            text = text.replace(old, new)
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    return put


def test_files_below_a_folder_are_loaded_with_their_family(write, tmp_path):
    write("moods/deep/a.yaml")
    write("b.yml", mood="second")
    write(".hidden/c.yaml", mood="third")
    write("notes.txt", mood="fourth")
    catalogue = load_catalogue([tmp_path])
    assert catalogue.ids() == ["mood", "second"]
    assert [task.family for task in catalogue] == ["moods", "own"]
    assert "mood" in catalogue
    assert len(catalogue) == 2


def test_an_unknown_id_is_told_with_the_nearest(write, tmp_path):
    write("a.yaml")
    with pytest.raises(AnnotationError, match=r"no task is named 'moood'. Did you mean 'mood'\?"):
        load_catalogue([tmp_path]).get("moood")


def test_two_files_with_one_id_are_both_named(write, tmp_path):
    write("x/a.yaml")
    write("y/b.yaml")
    with pytest.raises(AnnotationError) as caught:
        load_catalogue([tmp_path])
    text = str(caught.value)
    assert text.startswith(f"{tmp_path}/y/b.yaml:2:5: id: the id 'mood' is already used by ")
    assert f"{tmp_path}/x/a.yaml" in text
    assert text.endswith("[ANN162]")


def test_mistakes_of_all_files_are_told_together(write, tmp_path):
    write("a.yaml", licence="license")
    write("b.yaml", **{"train: train": "train: [[["})
    with pytest.raises(PipelineErrors) as caught:
        load_catalogue([tmp_path])
    assert {error.code for error in caught.value.errors} == {"ANN101", "ANN102", "YML002"}


def test_a_missing_folder_is_told(tmp_path):
    with pytest.raises(AnnotationError, match="ANN161"):
        load_catalogue([tmp_path / "nowhere"])


@pytest.mark.parametrize(
    ("options", "ids"),
    [
        ({}, ["british", "german", "mood"]),
        ({"family": "a"}, ["british", "mood"]),
        ({"kind": "classification", "family": "b"}, ["german"]),
        ({"kind": "regression"}, []),
        ({"licence": "MIT"}, ["british", "mood"]),
        ({"licence": "commercial"}, ["british", "mood"]),
        ({"licence": "non-commercial"}, ["german"]),
        ({"licence": "unknown"}, []),
        ({"language": "en"}, ["british", "mood"]),
        ({"language": "en-GB"}, ["british"]),
        ({"access": "gated"}, ["german"]),
        ({"modality": "dna"}, []),
        ({"verified": "unverified", "language": "de"}, ["german"]),
    ],
)
def test_selectors_narrow_the_catalogue(write, tmp_path, options, ids):
    write("a/a.yaml")
    write("a/b.yaml", **{"id: mood": "id: british", "language: en": "language: en-GB"})
    write(
        "b/c.yaml",
        **{
            "id: mood": "id: german",
            "licence: mit": "licence: cc-by-nc-4.0",
            '"yes"': '"no", access: gated, how_to_get: Ask.',
            "language: en": "language: de",
        },
    )
    catalogue = load_catalogue([tmp_path])
    assert [annotation.id for annotation in catalogue.select(**options)] == ids


def test_six_hundred_files_load_fast(write, tmp_path):
    for number in range(600):
        write(f"f{number % 7}/{number}.yaml", **{"id: mood": f"id: mood{number}"})
    started = time.process_time()
    assert len(load_catalogue([tmp_path])) == 600
    assert time.process_time() - started < 2


def test_the_built_in_catalogue_is_valid():
    assert len(load_catalogue()) > 0
    assert builtin_folder().name == "data_annotations"


def test_listing_needs_neither_torch_nor_datasets():
    code = (
        "import sys; from pipeline.annotations import load_catalogue; load_catalogue();"
        "print([m for m in ('torch', 'transformers', 'datasets', 'pyarrow') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=builtin_folder().parent,
    )
    assert done.stdout.strip() == "[]"


def test_a_folder_named_twice_is_read_once(tmp_path):
    (tmp_path / "one.yaml").write_text(
        "schema_version: 1\nid: one\ntask: text\nsource: {hub: a/b, licence: mit}\n"
        "splits: {train: train}\nfields: {a: a, target: b}\ninstruction: x\n"
    )
    again = tmp_path / "." / ".." / tmp_path.name
    assert load_catalogue([tmp_path, again]).ids() == ["one"]
