import datasets
import pytest

from pipeline.annotations.columns import check_columns, paths_used


def paths(annotation):
    return [str(use.path) for use in paths_used(annotation)]


def test_only_paths_into_source_rows_are_listed(annotate):
    annotation = annotate(
        rows="""
  - let: {low: {clean: raw, steps: [lower]}, both: [low, other]}
  - explode: turns
    as: turn
    history: before
  - lookup: {as: found, file: f.jsonl, key: k, of: names}
  - pairs: {entities: spans, relations: links, where: {of: head.type, eq: {value: wanted}}}
  - where: {all: [{of: turn.role, eq: user}, {not: {of: lang, ne: en}}]}
  - unique: id
    conflict_of: gold
  - {split_by: group, test: 0.1}
  - {cap_per: topic, max: 2}
  - {holdout: doc}""",
        fields="""
  text: {join: {each: before, do: {text: "{item.a} {extra} {index}"}}, sep: " "}
  context: {map: kind, to: {a: {text: "{deep.x[0]}"}}, else: fallback}
  target: {if: {of: both, truthy: true}, then: found, else: $text}""",
    )
    assert paths(annotation) == [
        "raw",
        "other",
        "turns",
        "names",
        "spans",
        "links",
        "wanted",
        "lang",
        "id",
        "gold",
        "group",
        "topic",
        "doc",
        "extra",
        "kind",
        "deep.x[0]",
        "fallback",
    ]


def test_a_missing_column_is_told_in_full(annotate):
    annotation = annotate(source="{hub: nyu-mll/glue, config: rte, licence: mit}")
    errors = check_columns(annotation, ["idx", "label", "sentences"], split="train")
    assert [str(error) for error in errors] == [
        "f.yaml:6:16: fields.text: no column 'sentence' in nyu-mll/glue (rte, train). "
        "Columns: idx, label, sentences. Did you mean 'sentences'? [ANN104]"
    ]


def test_a_text_written_as_a_path_gets_a_hint(annotate):
    annotation = annotate(fields="{text: {if: {of: a, eq: 1}, then: yes, else: a}, target: label}")
    (error,) = check_columns(annotation, ["a", "label"])
    assert "no column 'yes'" in str(error)
    assert "{const: ...}" in str(error)


FEATURES = datasets.Features(
    {
        "answers": datasets.Sequence({"text": datasets.Value("string")}),
        "turns": [{"role": datasets.Value("string")}],
        "nested": {"deep": {"x": datasets.List(datasets.Value("int32"))}},
        "plain": datasets.Value("string"),
        "label": datasets.ClassLabel(names=["a", "b"]),
    }
)
PLAIN_FEATURES = {
    "answers": {"text": ["string"]},
    "turns": [{"role": "string"}],
    "nested": {"deep": {"x": ["int"]}},
    "plain": "string",
    "label": "int",
}


@pytest.mark.parametrize(
    "path",
    [
        "answers.text",
        "answers.text[0]",
        "answers[*].text",
        "turns[*].role",
        "turns.role",
        "turns[0].role",
        "nested.deep.x[1]",
        "plain",
        "plain[0]",
    ],
)
@pytest.mark.parametrize("features", [FEATURES, PLAIN_FEATURES], ids=["features", "plain"])
def test_existing_members_are_found_in_every_layout(annotate, path, features):
    annotation = annotate(fields=f"{{text: '{path}', target: label}}")
    assert check_columns(annotation, features) == []


@pytest.mark.parametrize(
    ("path", "part"),
    [
        ("answers.txt", "no member 'txt' in owner/mood. Members of 'answers': text. Did you mean"),
        ("turns[*].rol", "no member 'rol'"),
        ("nested.deep.y", "no member 'y' in owner/mood. Members of 'nested': x"),
        ("plain.x", "no member 'x' in owner/mood. Members of 'plain': none"),
    ],
)
def test_missing_members_are_told(annotate, path, part):
    annotation = annotate(fields=f"{{text: '{path}', target: label}}")
    (error,) = check_columns(annotation, FEATURES)
    assert part in str(error)


def test_nothing_is_claimed_about_json_of_any_shape(annotate):
    annotation = annotate(fields="{text: any.x.y, target: label}")
    assert check_columns(annotation, {"any": datasets.Json(), "label": None}) == []
