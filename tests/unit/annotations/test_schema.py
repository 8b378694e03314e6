import pytest

from pipeline.annotations.schema import DatasetAnnotation, annotation_from, load_annotation
from pipeline.errors import AnnotationError
from pipeline.types import TaskSpec
from pipeline.yaml_reader import read_yaml


def test_a_small_annotation_gives_its_spec(annotate):
    annotation = annotate(settings="{}")
    assert annotation.spec() == TaskSpec(
        id="mood",
        kind="classification",
        family="fam",
        instruction="Name the mood.",
        labels=("sad", "happy"),
        metrics=("accuracy", "macro_f1"),
        settings={},
    )
    assert annotation.family == "fam"
    assert annotation.access == "open"
    assert annotation.source.language == ("en",)
    assert annotation.verified == "unverified"


def test_truncation_and_defaults_travel_in_the_settings(annotate):
    annotation = annotate(truncate="{input: text, side: left}", metrics="[macro_f1]")
    assert annotation.spec().settings == {"truncate": {"input": "text", "side": "left"}}
    assert annotation.spec().metrics == ("macro_f1",)


def test_every_mistake_of_a_file_is_told_at_once_in_file_order(refusals):
    found = refusals(
        source="{hub: owner/mood, license: mit}",
        task="clasification",
        fields="{text: sentence, target: {mapp: label}}",
        labels="[no, 1]",
        verifed="rows",
    )
    assert found == [
        "f.yaml:3:7: task: 'classification', 'pair_classification', 'multiple_choice', "
        "'token_classification', 'multi_label', 'soft_label', 'regression', 'extractive_qa', "
        "'relation', 'text', 'chat', 'function_calling', 'dna_classification', 'records' or "
        "'ranking' is needed, got 'clasification'. Did you mean 'classification'? [ANN103]",
        "f.yaml:4:9: source.licence: this key is missing. [ANN102]",
        "f.yaml:4:27: source.license: unknown key 'license'. Did you mean 'licence' or 'files'? "
        "[ANN101]",
        "f.yaml:6:41: fields.target.mapp: no expression begins with 'mapp'. "
        "Did you mean 'map' or 'mean' or 'mark'? [ANN110]",
        "f.yaml:7:14: labels[1]: a label is text, got 1. Quote it. [ANN150]",
        "f.yaml:9:1: verifed: unknown key 'verifed'. "
        "Did you mean 'verified' or 'ordered' or 'views'? [ANN101]",
    ]


def test_contradictions_are_told_although_other_keys_are_wrong(refusals):
    found = refusals(verified="row", settings="{scheme: bio}", metrics="[acuracy]")
    assert [line.split("[")[-1] for line in found] == ["ANN103]", "ANN153]", "ANN154]"]


def test_an_unknown_schema_version_is_refused(refusals):
    assert "schema_version: 1 is needed, got 2" in refusals(schema_version="2")[0]
    assert "this key is missing" in refusals(schema_version="ABSENT")[0]


@pytest.mark.parametrize(
    "task_id", ["", "/a", "a/", "a//b", "../a", "a b", "a\u00e9", "{other}", "~a", "-a", "x" * 121]
)
def test_an_id_that_is_no_plain_path_is_refused(refusals, task_id):
    assert any("f.yaml:2:5: id: " in line for line in refusals(id=f'"{task_id}"'))


@pytest.mark.parametrize("task_id", ["glue/rte", "a.b-c_d/1", "WANLI", "squad-v2/x"])
def test_plain_ids_are_fine(annotate, task_id):
    assert annotate(id=task_id).id == task_id


@pytest.mark.parametrize("text", ["", "5", "[a]", "null", "just text"])
def test_a_file_that_is_no_map_is_refused(text):
    with pytest.raises(AnnotationError, match=r"f.yaml:1:1: an annotation is a map .*ANN103"):
        annotation_from(read_yaml(text, name="f.yaml"))


CONFIGS = "{{hub: o/x, licence: mit, config: [one, two], data_dir: 'd/{{config}}'{}}}"


def test_a_list_of_configs_gives_one_task_each(annotate):
    annotation = annotate(
        id='"mood/{config}"',
        title='"Mood ({config})"',
        source=CONFIGS.format(""),
        rows="[{where: {of: part, eq: '{config}'}}]",
        fields="{text: {text: '{config}: {sentence}'}, target: label}",
        per_config="{two: {id: mood/second, labels: [bad, good], instruction: Choose.}}",
    )
    first, second = annotation.expanded()
    assert (first.id, first.title, first.config) == ("mood/one", "Mood (one)", "one")
    assert (first.source.data_dir, first.source.config) == ("d/one", "one")
    assert first.rows[0].condition.value == "one"
    assert first.fields["text"].parts[0] == "one: "
    assert (second.id, second.config) == ("mood/second", "two")
    assert second.spec().labels == ("bad", "good")
    assert second.spec().instruction == "Choose."
    assert first.data_fingerprint() != second.data_fingerprint()
    assert first.expanded() == (first,)


def test_configs_in_a_column_of_one_table_keep_their_own_rows(annotate):
    annotation = annotate(
        id='"mood/{config}"',
        source="{hub: a/b, licence: mit, config: [one, two], config_column: part}",
        rows="[{where: {of: label, ge: 0}}]",
    )
    first, second = annotation.expanded()
    assert (first.id, first.config, first.source.config) == ("mood/one", None, None)
    assert [operation.condition.value for operation in second.rows] == ["two", 0]
    assert first.data_fingerprint() != second.data_fingerprint()
    assert first.expanded() == (first,)


def test_a_column_of_configs_needs_their_names(refusals):
    (refusal,) = refusals(source="{hub: a/b, licence: mit, config: one, config_column: part}")
    assert "`config_column` needs a list of its values under `config`" in refusal


def test_a_golden_row_may_name_the_config(annotate):
    golden = "[{row: {sentence: x, label: 0}, example: {inputs: {text: '{config}'}, target: sad}}]"
    annotation = annotate(id='"m/{config}"', source=CONFIGS.format(""), golden=golden)
    assert annotation.expanded()[1].golden[0].expected()[0]["inputs"] == {"text": "two"}


def test_the_data_fingerprint_follows_what_decides_the_examples(annotate):
    base = annotate().data_fingerprint()
    assert annotate(title="Other", instruction="Other.").data_fingerprint() == base
    assert annotate(verified="unverified", notes="x").data_fingerprint() == base
    assert annotate(labels="[happy, sad]").data_fingerprint() != base
    assert annotate(splits="{train: train}").data_fingerprint() != base
    assert annotate(rows="[{unique: sentence}]").data_fingerprint() != base


def test_marks_point_into_the_file_or_name_the_task(annotate, base_text):
    annotation = annotate()
    assert str(annotation.mark(("fields", "target"))) == "f.yaml:6:34"
    bare = DatasetAnnotation.model_validate(read_yaml(base_text).value)
    assert bare.mark(("fields",)) == "mood"
    assert bare.path is None


@pytest.mark.parametrize(
    ("golden", "part"),
    [
        ("[{row: {}}]", "one of `example`"),
        ("[{row: {}, skipped: true, examples: []}]", "one of `example`"),
        ("[{row: 5, skipped: true}]", "a map is needed"),
        ("[{row: {}, skipped: true, rows: 1}]", "unknown key 'rows'"),
        ("5", "a list is needed"),
    ],
)
def test_golden_rows_have_one_form(refusals, golden, part):
    assert any(part in line for line in refusals(golden=golden))


def test_an_annotation_file_belongs_to_the_family_of_its_folder(tmp_path, base_text):
    path = tmp_path / "moods" / "mood.yaml"
    path.parent.mkdir()
    path.write_text(base_text)
    annotation = load_annotation(path)
    assert annotation.family == "moods"
    assert annotation.path == path


def test_annotations_cannot_be_changed(annotate):
    with pytest.raises(ValueError, match="frozen"):
        annotate().id = "other"
