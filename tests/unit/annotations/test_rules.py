import pytest


@pytest.mark.parametrize(
    ("lines", "code", "part"),
    [
        ({"fields": "{text: s}"}, "ANN105", "needs the field 'target'"),
        ({"fields": "{text_a: s, target: y}"}, "ANN106", "no field 'text_a'. Did you mean 'text'"),
        ({"fields": "{text: s, target: y, choices: c}"}, "ANN106", "no field 'choices'"),
        ({"fields": "{text: $nope, target: y}"}, "ANN118", "no field is named 'nope'"),
        ({"fields": "{text: $context, context: $text, target: y}"}, "ANN119", "in a circle"),
        ({"rows": "[{where: {of: $text, eq: 1}}]"}, "ANN118", "before fields are computed"),
        ({"labels": "[only]"}, "ANN152", "at least two"),
        ({"labels": "[a, a]"}, "ANN150", "twice"),
        ({"labels": "[]"}, "ANN150", "a list of names"),
        ({"labels": "{0: no, 1: true}"}, "ANN150", "got True"),
        ({"settings": "{scheme: bio}"}, "ANN153", "no setting 'scheme'. Take it out"),
        (
            {
                "task": "relation",
                "fields": "{text: s, head: h, tail: t, target: y}",
                "labels": "{0: none, 1: effect}",
                "settings": "{negative_label: nome}",
            },
            "ANN153",
            "'negative_label' is one of the labels, got 'nome'. Did you mean 'none'",
        ),
        ({"metrics": "[acuracy]"}, "ANN154", "Did you mean 'accuracy'"),
        ({"metrics": "[mcc, mcc]"}, "ANN154", "listed twice"),
        ({"instruction": "ABSENT"}, "ANN102", "needs an `instruction`"),
        ({"id": '"m/{config}"'}, "ANN146", "needs a list of configs"),
        ({"per_config": "{a: {}}"}, "ANN146", "no config 'a'"),
        ({"truncate": "{input: context}"}, "ANN155", "no input is named 'context'"),
        ({"verified": "golden"}, "ANN156", "needs golden rows"),
        (
            {
                "task": "dna_classification",
                "fields": "{sequence: s, target: y}",
                "settings": "{reverse_complement: true}",
                "splits": "{train: train, validation: {take: 0.1, from: train}}",
            },
            "ANN149",
            "its other strand may part. Cut by content, under `rows`: {split_by",
        ),
        (
            {"guide": "{negative: [{golden: 0, answer: x, explanation: y}]}"},
            "ANN159",
            "golden[0] has no example",
        ),
        (
            {"golden": "[{row: {}, skipped: true, explanation: y}]"},
            "ANN151",
            "an explanation needs an example",
        ),
        (
            {"golden": "[{row: {}, example: {target: sad}, explanation: y}]"},
            "ANN151",
            "a worked example needs its inputs",
        ),
        (
            {"source": "{files: {train: [a.csv, d.csv], test: d.csv}, licence: mit}"},
            "ANN144",
            "file 'd.csv' already serves 'train'",
        ),
        ({"source": "{hub: o/x, licence: mit, local: true}"}, "ANN141", "and `how_to_get`"),
        (
            {
                "task": "records",
                "fields": "{records: r, target: y}",
                "labels": "ABSENT",
                "settings": "{answer: label}",
            },
            "ANN153",
            "`answer: label` needs `labels`",
        ),
        (
            {
                "task": "records",
                "fields": "{records: r, target: y}",
                "settings": "{max_events: 0}",
            },
            "ANN153",
            "'max_events' is at least 1",
        ),
        ({"fields": "{text: s, target: {const: sad}}"}, "ANN157", "the same for every row"),
        ({"fields": "{text: y, target: y}"}, "ANN158", "shows the target"),
        ({"fields": "{text: {text: 'is {y}'}, target: y}"}, "ANN158", "shows the target"),
    ],
)
def test_contradictions_between_keys_are_refused(refusals, lines, code, part):
    found = refusals(**lines)
    assert any(part in line and line.endswith(f"[{code}]") for line in found), found


LIBRARY = """{
  query: q, target: y,
  functions: {function: library, of: {record: {functions: %s, calls: y, query: q}}}}"""


def test_a_library_may_be_varied_by_the_calls_but_not_show_them(annotate, refusals):
    lines = {"task": "function_calling", "labels": "ABSENT"}
    annotate(**lines, fields=" ".join((LIBRARY % "tools").split()))
    found = refusals(**lines, fields=" ".join((LIBRARY % "y").split()))
    assert any("'functions' shows the target" in line for line in found), found


def source(config):
    return f"{{hub: o/x, licence: mit, config: {config}}}"


@pytest.mark.parametrize(
    ("task_id", "config", "part"),
    [
        ("mood", "[a, b]", "must hold `{config}`"),
        ('"m/{config}/{x}"', "[a, b]", "only placeholder"),
        ('"m/{config}"', "['a b', c]", "cannot stand in an id"),
    ],
)
def test_ids_and_configs_belong_together(refusals, task_id, config, part):
    assert any(part in line for line in refusals(id=task_id, source=source(config)))


def test_a_config_with_odd_letters_may_have_its_own_id(annotate):
    annotation = annotate(
        id='"m/{config}"', source=source("['a b', c]"), per_config="{'a b': {id: m/a_b}}"
    )
    assert [task.id for task in annotation.expanded()] == ["m/a_b", "m/c"]


CHOICE = """\
schema_version: 1
id: quiz
task: multiple_choice
source: {hub: o/quiz, licence: mit}
splits: {train: train}
fields: {question: q, choices: [right, wrong], target: 0}
instruction: Answer.
"""


def test_an_option_that_is_always_right_must_be_moved(annotate, refusals):
    (found,) = refusals(CHOICE)
    assert "the right option always stands at the same place" in found
    assert "choice_order: hashed" in found
    assert annotate(CHOICE, settings="{choice_order: hashed}").id == "quiz"


@pytest.mark.parametrize(
    ("settings", "part"),
    [
        ("{choice_order: random}", "one of source, hashed, got 'random'"),
        ("{max_choices: 1}", "at least 2"),
        ("{max_choices: four}", "a whole number"),
        ("{max_choices: true}", "a whole number"),
    ],
)
def test_settings_have_the_types_of_their_kind(refusals, settings, part):
    text = CHOICE.replace("target: 0", "target: y")
    assert any(part in line for line in refusals(text, settings=settings))


def test_a_range_must_rise(refusals):
    text = """\
schema_version: 1
id: score
task: regression
source: {hub: o/x, licence: mit}
splits: {train: train}
fields: {text_a: a, target: y}
instruction: Score.
settings: {minimum: 5, maximum: 0}
"""
    assert any("`minimum` must be below `maximum`" in line for line in refusals(text))


def test_free_inputs_have_plain_names(refusals):
    text = """\
schema_version: 1
id: free
task: text
source: {hub: o/x, licence: mit}
splits: {train: train}
fields: {"My Input": a, target: y}
instruction: Write.
"""
    assert any("small letters" in line for line in refusals(text))
    alone = text.replace('"My Input": a, ', "")
    assert any("at least one input" in line for line in refusals(alone))
