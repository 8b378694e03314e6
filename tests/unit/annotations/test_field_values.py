import pytest

from pipeline.annotations.field_values import compile_fields
from pipeline.annotations.outcomes import RowSkipped
from pipeline.errors import AnnotationError

CHOICE = """\
schema_version: 1
id: quiz
task: multiple_choice
source: {hub: o/quiz, licence: mit}
splits: {train: train}
fields: {question: q, choices: options, target: answer}
instruction: Answer.
"""
TOKENS = """\
schema_version: 1
id: ner
task: token_classification
source: {hub: o/ner, licence: mit}
splits: {train: train}
fields: {tokens: words, target: {spans: tags, tokens: words}}
labels: [O, B-Loc, I-Loc]
instruction: List.
"""


def test_an_example_has_inputs_in_order_target_and_choices(annotate):
    run = compile_fields(annotate(fields="{context: c, text: sentence, target: label}"))
    values = run({"sentence": "Hi", "label": 1, "c": "x", "other": 5}, 0)
    assert values == {
        "inputs": {"context": "x", "text": "Hi"},
        "target": "happy",
        "choices": ["sad", "happy"],
    }
    assert list(values["inputs"]) == ["context", "text"]


def test_an_optional_input_may_be_null_and_a_required_one_may_not(annotate):
    run = compile_fields(annotate(fields="{context: c, text: sentence, target: label}"))
    assert run({"sentence": "Hi", "label": 0, "c": None}, 0)["inputs"] == {"text": "Hi"}
    with pytest.raises(RowSkipped, match=r"^fields.text: null$"):
        run({"sentence": None, "label": 0, "c": "x"}, 0)
    with pytest.raises(RowSkipped, match=r"^fields.target: label is null$"):
        run({"sentence": "Hi", "label": None, "c": "x"}, 0)


def test_an_unmapped_label_is_an_error_with_row_and_place(annotate):
    run = compile_fields(annotate())
    with pytest.raises(AnnotationError) as caught:
        run({"sentence": "Hi", "label": -1}, 7)
    assert str(caught.value).startswith(
        "f.yaml:6:34: row 7: fields.target: no label stands for the value -1."
    )
    assert str(caught.value).endswith("or leave such rows out with `where`. [ANN205]")


def test_labels_may_come_with_the_data(annotate):
    annotation = annotate(labels="ABSENT")
    run = compile_fields(annotation, class_names=["low", "high"])
    assert run({"sentence": "Hi", "label": 1}, 0)["target"] == "high"
    assert annotation.label_path() == "label"
    assert annotation.spec(["low", "high"]).labels == ("low", "high")
    with pytest.raises(AnnotationError, match="ANN207"):
        compile_fields(annotation)


def test_fields_may_use_other_fields_in_any_order(annotate):
    fields = "{target: {find: gold, in: $choices}, question: q, choices: [a, b]}"
    run = compile_fields(annotate(CHOICE, fields=fields))
    found = run({"q": "?", "a": "x", "b": "y", "gold": "y"}, 0)
    assert found == {"inputs": {"question": "?"}, "target": 1, "choices": ["x", "y"]}


@pytest.mark.parametrize(("answer", "code"), [(-1, "ANN208"), (2, "ANN208"), ("1", "ANN208")])
def test_a_position_that_is_no_option_is_an_error(annotate, answer, code):
    run = compile_fields(annotate(CHOICE))
    with pytest.raises(AnnotationError, match=code):
        run({"q": "?", "options": ["x", "y"], "answer": answer}, 0)


def test_too_few_options_or_no_answer_skip_the_row(annotate):
    run = compile_fields(annotate(CHOICE))
    with pytest.raises(RowSkipped, match="fewer than two"):
        run({"q": "?", "options": ["x"], "answer": 0}, 0)
    with pytest.raises(RowSkipped, match="null"):
        run({"q": "?", "options": ["x", "y"], "answer": None}, 0)
    with pytest.raises(RowSkipped, match="choices: null where text is needed"):
        run({"q": "?", "options": ["x", None], "answer": 0}, 0)


def test_hashed_order_moves_the_right_option_evenly_and_for_good(annotate):
    text = CHOICE.replace("target: answer", "target: 0")
    run = compile_fields(annotate(text, settings="{choice_order: hashed}"))
    counts = [0, 0, 0]
    for i in range(600):
        options = [f"right {i}", f"wrong {i}", f"other {i}"]
        found = run({"q": "?", "options": options}, i)
        assert sorted(found["choices"]) == sorted(options)
        assert found["choices"][found["target"]] == f"right {i}"
        assert found == run({"q": "?", "options": options}, i + 1)
        counts[found["target"]] += 1
    assert min(counts) > 150


def test_hashed_order_does_not_depend_on_the_order_at_the_source(annotate):
    run = compile_fields(annotate(CHOICE, settings="{choice_order: hashed}"))
    one = run({"q": "?", "options": ["x", "y", "z"], "answer": 2}, 0)
    other = run({"q": "?", "options": ["z", "x", "y"], "answer": 0}, 0)
    assert one == other


def test_max_choices_keeps_the_right_option_and_the_first_wrong_ones(annotate):
    run = compile_fields(annotate(CHOICE, settings="{max_choices: 3}"))
    found = run({"q": "?", "options": ["a", "b", "c", "d", "e"], "answer": 4}, 0)
    assert sorted(found["choices"]) == ["a", "b", "e"]
    assert found["choices"][found["target"]] == "e"
    found = run({"q": "?", "options": ["c", "b", "a"], "answer": 2}, 0)
    assert (found["choices"], found["target"]) == (["c", "b", "a"], 2)


def test_max_choices_does_not_tell_the_right_option_by_its_place(annotate):
    run = compile_fields(annotate(CHOICE, settings="{max_choices: 3}"))
    counts = [0, 0, 0]
    for i in range(600):
        options = [f"{name} {i}" for name in "abcdefghij"]
        counts[run({"q": "?", "options": options, "answer": i % 10}, i)["target"]] += 1
    assert min(counts) > 150


def test_mentions_come_from_names_or_numbers_of_tags(annotate):
    run = compile_fields(annotate(TOKENS))
    expected = [{"text": "New York", "type": "Loc", "start": 0, "end": 2}]
    assert run({"words": ["New", "York"], "tags": [1, 2]}, 0)["target"] == expected
    assert run({"words": ["New", "York"], "tags": ["B-Loc", "I-Loc"]}, 0)["target"] == expected
    assert annotate(TOKENS).spec().labels == ("Loc",)
    with pytest.raises(AnnotationError, match=r"'Per'.*ANN205"):
        run({"words": ["Ann"], "tags": ["B-Per"]}, 0)


def test_untyped_tags_have_the_type_of_the_expression(annotate):
    fields = "{tokens: words, target: {spans: tags, tokens: words, type: Species}}"
    annotation = annotate(TOKENS, fields=fields, labels="[O, B, I]")
    assert annotation.spec().labels == ("Species",)
    found = compile_fields(annotation)({"words": ["E.", "coli"], "tags": ["B", "I"]}, 0)
    assert found["target"] == [{"text": "E. coli", "type": "Species", "start": 0, "end": 2}]


def test_plain_tags_are_one_name_per_word(annotate):
    fields = "{tokens: words, target: tags}"
    annotation = annotate(TOKENS, fields=fields, labels="[N, V]", settings="{scheme: plain}")
    run = compile_fields(annotation)
    assert run({"words": ["a", "b"], "tags": [1, "N"]}, 0)["target"] == ["V", "N"]
    assert annotation.spec().labels == ("N", "V")
    assert annotation.spec().metrics == ("token_accuracy",)
    with pytest.raises(RowSkipped, match="differ in number"):
        run({"words": ["a"], "tags": [0, 1]}, 0)


@pytest.mark.parametrize(
    ("kind", "fields", "row", "message"),
    [
        ("chat", "{messages: m, target: y}", {"m": "hi"}, "a list of turns .* got text"),
        ("chat", "{messages: m, target: y}", {"m": ["hi"]}, "turn 0: a map is needed"),
        ("chat", "{messages: m, target: y}", {"m": [{"content": "a"}]}, "turn 0: no role None"),
        (
            "chat",
            "{messages: m, target: y}",
            {"m": [{"role": "human", "content": "a"}]},
            "no role 'human'; allowed are system, user.*form: share",
        ),
        (
            "chat",
            "{messages: m, target: y}",
            {"m": [{"role": "user", "content": ["a"]}]},
            "content: text is needed, got a list",
        ),
        (
            "chat",
            "{messages: m, target: y}",
            {"m": [{"role": "assistant", "tool_calls": [{"function": {}}]}]},
            "call 0: name: text is needed, got null",
        ),
        (
            "function_calling",
            "{query: m, functions: f, target: y}",
            {"m": "do", "f": [{"description": "no name"}]},
            "function 0: name: text is needed",
        ),
        (
            "function_calling",
            "{query: m, functions: f, target: y}",
            {"m": "do", "f": [{"name": "f", "parameters": None}]},
            "parameters: a map is needed, got null",
        ),
    ],
)
def test_turns_functions_and_calls_have_the_shape_of_their_kind(
    annotate, kind, fields, row, message
):
    run = compile_fields(annotate(variant(kind, fields)))
    with pytest.raises(AnnotationError, match=message) as caught:
        run({"y": "so" if kind == "chat" else [], **row}, 0)
    assert caught.value.code == "ANN212"
    assert "row 0: fields." in str(caught.value)


def test_words_that_are_numbers_become_text(annotate):
    run = compile_fields(annotate(TOKENS))
    found = run({"words": [3, "cats"], "tags": ["O", "O"]}, 0)
    assert found["inputs"] == {"tokens": ["3", "cats"]}
    with pytest.raises(RowSkipped, match=r"fields.tokens: text where a list|fields.target"):
        run({"words": "3 cats", "tags": ["O", "O"]}, 0)


def variant(kind, fields, **lines):
    text = f"""\
schema_version: 1
id: x
task: {kind}
source: {{hub: o/x, licence: mit}}
splits: {{train: train}}
fields: {fields}
instruction: Do.
"""
    return text + "".join(f"{key}: {value}\n" for key, value in lines.items())


@pytest.mark.parametrize(
    ("text", "row", "target"),
    [
        (
            variant("multi_label", "{text: t, target: y}", labels="[a, b, c]"),
            {"t": "x", "y": [2, 0, 2]},
            ["a", "c"],
        ),
        (variant("multi_label", "{text: t, target: y}", labels="[a]"), {"t": "x", "y": []}, []),
        (variant("regression", "{text_a: t, target: y}"), {"t": "x", "y": 3}, 3.0),
        (
            variant("extractive_qa", "{context: c, question: q, target: a}"),
            {"a": ["x", "x"]},
            ["x"],
        ),
        (variant("extractive_qa", "{context: c, question: q, target: a}"), {"a": []}, []),
        (variant("extractive_qa", "{context: c, question: q, target: a}"), {"a": "x"}, ["x"]),
        (variant("text", "{text: t, target: y}"), {"t": "x", "y": 5}, "5"),
        (variant("chat", "{messages: m, target: y}"), {"m": [], "y": "ok"}, "ok"),
        (variant("records", "{records: r, target: y}"), {"r": [1], "y": {"a": 1}}, {"a": 1}),
        (
            variant("records", "{records: r, target: y}", labels="[no, yes]"),
            {"r": [1], "y": [1, 0]},
            ["yes", "no"],
        ),
        (
            variant("ranking", "{query: q, choices: c, target: y}"),
            {"q": "x", "c": ["a", "b"], "y": [1, 0]},
            [1, 0],
        ),
        (
            variant("soft_label", "{text: t, target: {count: y, of: [0, 1]}}", labels="[no, yes]"),
            {"t": "x", "y": [1, 0, 1, 1]},
            {"no": 0.25, "yes": 0.75},
        ),
        (
            variant("soft_label", "{text: t, target: y}", labels="{e: entails, n: neutral}"),
            {"t": "x", "y": {"n": 3, "e": None}},
            {"entails": 0.0, "neutral": 1.0},
        ),
        (
            variant("dna_classification", "{sequence: s, target: y}", labels="[no, yes]"),
            {"s": "ACGT", "y": 1},
            "yes",
        ),
    ],
)
def test_each_kind_has_its_target(annotate, text, row, target):
    full = {"c": "x", "q": "x", **row}
    found = compile_fields(annotate(text))(full, 0)["target"]
    assert found == target
    assert type(found) is type(target)


@pytest.mark.parametrize(
    ("granular", "good", "bad"),
    [
        ("calls", [{"name": "f", "arguments": {}}], [{"api": "f"}]),
        ("names", ["f"], [1]),
        ("parameters", {"a": 1}, [1]),
        ("next", "f", ""),
        ("response", "done", ["done"]),
    ],
)
def test_function_calling_targets_have_the_shape_of_their_part(annotate, granular, good, bad):
    text = variant(
        "function_calling",
        "{query: q, functions: f, target: y}",
        settings=f"{{granular: {granular}}}",
    )
    run = compile_fields(annotate(text))
    row = {"q": "x", "f": []}
    assert run({**row, "y": good}, 0)["target"] == good
    with pytest.raises(AnnotationError, match="ANN212"):
        run({**row, "y": bad}, 0)


def test_numbers_outside_of_their_range_skip_the_row(annotate):
    settings = "{minimum: 0, maximum: 5}"
    run = compile_fields(
        annotate(variant("regression", "{text_a: t, target: y}", settings=settings))
    )
    for value in (-1, 6, float("nan"), "3", True):
        with pytest.raises(RowSkipped):
            run({"t": "x", "y": value}, 0)


@pytest.mark.parametrize("ranked", [[1, 1], [0, 2], ["a"]])
def test_a_ranking_lists_positions_once_each(annotate, ranked):
    run = compile_fields(annotate(variant("ranking", "{query: q, choices: c, target: y}")))
    with pytest.raises(AnnotationError, match="ANN208"):
        run({"q": "x", "c": ["a", "b"], "y": ranked}, 0)


def test_a_regular_expression_the_engine_refuses_is_an_error(annotate):
    fields = "{text: {clean: s, steps: [{sub: ['[[:bad:]]', x]}]}, target: label}"
    with pytest.raises(AnnotationError, match=r"f.yaml:6:16: fields.text: .*ANN206"):
        compile_fields(annotate(fields=fields))


def test_a_function_that_is_not_given_is_an_error(annotate):
    fields = "{text: {function: python_literal, of: s}, target: label}"
    with pytest.raises(AnnotationError, match=r"fields.text: .*'python_literal'.*ANN202"):
        compile_fields(annotate(fields=fields))


@pytest.mark.parametrize(
    ("votes", "reason"),
    [
        ([0, 0], "no votes"),
        ([1, -1], "a weight from 0"),
        ([1, "x"], "text where a weight"),
        (None, "null where a list is needed"),
    ],
)
def test_soft_labels_without_usable_votes_skip_the_row(annotate, votes, reason):
    text = variant("soft_label", "{text: t, target: y}", labels="[no, yes]")
    with pytest.raises(RowSkipped, match=reason):
        compile_fields(annotate(text))({"t": "x", "y": votes}, 0)


def test_soft_labels_need_a_weight_for_each_label(annotate):
    text = variant("soft_label", "{text: t, target: y}", labels="[no, yes]")
    with pytest.raises(AnnotationError, match="each of 2 labels is needed, got 3") as caught:
        compile_fields(annotate(text))({"t": "x", "y": [1, 2, 3]}, 0)
    assert caught.value.code == "ANN214"
