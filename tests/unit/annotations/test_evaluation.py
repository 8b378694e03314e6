import pytest

from pipeline.annotations.evaluation import compile_condition, compile_expression
from pipeline.annotations.outcomes import RowSkipped
from pipeline.annotations.parsing import FORMS
from pipeline.errors import AnnotationError

ROW = {
    "a": "x",
    "b": "y",
    "n": 3,
    "f": 0.5,
    "flag": True,
    "nothing": None,
    "empty": "",
    "list": ["p", "q", "p"],
    "numbers": [1, 0, 2],
    "turns": [{"role": "user", "text": "Hi"}, {"role": "bot", "text": "Yo"}],
    "options": {"text": ["one", "two"], "label": ["A", "B"]},
    "sentence": "The cat sat",
    "tokens": ["New", "York", "is", "big"],
    "tags": [1, 2, 0, 0],
    "json": '{"k": [1, 2]}',
}
FUNCTIONS = {"python_literal": lambda value, **options: [value, options]}


@pytest.fixture
def evaluate(expression):
    def run(text, row=ROW):
        before = repr(row)
        value = compile_expression(expression(text), FUNCTIONS, ("O", "B-Loc", "I-Loc"))(row)
        assert repr(row) == before, "the source row is never changed"
        return value

    return run


CASES = [
    ("a", "x"),
    ("5", 5),
    ("true", True),
    ("[a, n]", ["x", 3]),
    ("{const: [1, a]}", [1, "a"]),
    ('{text: "{a} of {b}: {n}"}', "x of y: 3"),
    ('{text: "{{a}} {who}!", with: {who: {const: you}}}', "{a} you!"),
    ("{join: list}", "p q p"),
    ('{join: [a, nothing, b], sep: "-", skip: [null]}', "x-y"),
    ('{join: {const: [" a ", ""]}, sep: "|", strip: true}', "a|"),
    ("{concat: [list, a, {const: [1]}]}", ["p", "q", "p", "x", 1]),
    ("{map: a, to: {x: ex, y: why}}", "ex"),
    ("{map: n, to: [zero, one, two, three]}", "three"),
    ("{map: flag, to: {true: up, false: down}}", "up"),
    ("{map: a, to: {z: 1}, else: keep}", "x"),
    ("{map: a, to: {z: 1}, else: {const: other}}", "other"),
    ("{map: a, to: {z: 1}, else: null}", None),
    ("{map: a, to: {z: 1}, else: b}", "y"),
    ('{map: a, to: {x: {text: "{b}!"}}}', "y!"),
    ("{find: b, in: {const: [x, y]}}", 1),
    ("{find: {const: B}, in: options.label}", 1),
    ("{find: a, in: list, else: {const: -1}}", -1),
    ("{bin: f, at: [0.25, 0.5], to: [low, mid, high]}", "high"),
    ("{bin: f, at: [0.25, 0.5], to: [low, mid, high], strict: true}", "mid"),
    ("{if: {of: n, gt: 2}, then: a, else: b}", "x"),
    ("{if: {of: n, gt: 9}, then: a, else: b}", "y"),
    ("{if: {of: n, gt: 9}, then: a}", None),
    ('{each: turns, do: {text: "{item.role}: {item.text}"}}', ["user: Hi", "bot: Yo"]),
    ("{each: turns, do: index, where: {of: item.role, eq: bot}}", [1]),
    ("{each: options, do: item.text}", ["one", "two"]),
    ("{each: [list, list], do: {each: item, do: item}}", [["p", "q", "p"], ["p", "q", "p"]]),
    ("{count: list}", 3),
    ("{count: list, of: [p, q, z]}", [2, 1, 0]),
    (
        "{mark: sentence, spans: "
        "[{name: A, start: 4, end: 7}, {name: B, start: {const: 0}, end: 3}]}",
        "[B] The [/B] [A] cat [/A] sat",
    ),
    (
        "{mark: sentence, spans: [{name: A, start: 4, text: {const: cat}}]}",
        "The [A] cat [/A] sat",
    ),
    (
        "{mark: sentence, blanks: false, spans: [{name: A, start: 4, end: 7}]}",
        "The [A]cat[/A] sat",
    ),
    ("{clean: a, steps: [upper]}", "X"),
    ("{record: {who: a, none: nothing}}", {"who": "x", "none": None}),
    ("{get: {json: json}, path: 'k[1]'}", 2),
    ("{json: json}", {"k": [1, 2]}),
    (
        "{spans: tags, tokens: tokens}",
        [{"text": "New York", "type": "Loc", "start": 0, "end": 2}],
    ),
    ("{flags: {bad: empty, good: flag}}", ["good"]),
    ("{flags: numbers}", [0, 2]),
    ("{first: [nothing, empty, b]}", "y"),
    ("{first: [nothing, empty]}", None),
    ("{pick: list, at: {const: 1}}", "q"),
    ("{pick: {record: {x: n}}, at: a}", 3),
    ("{pick: list, at: {const: 7}}", None),
    ("{pick: list, at: {const: -1}}", None),
    ("{majority: list}", "p"),
    ("{mean: numbers}", 1.0),
    ("{mean: [f, f, n]}", 4 / 3),
    ("{argmax: numbers}", 2),
    ("{argmax: {record: {low: f, high: n}}}", "high"),
    (
        "{zip: {word: list, rank: numbers}}",
        [{"word": w, "rank": r} for w, r in zip("pqp", [1, 0, 2], strict=True)],
    ),
    ("{sort: numbers}", [0, 1, 2]),
    ("{sort: list, by: {pick: numbers, at: index}, descending: true}", ["p", "p", "q"]),
    (
        "{sort: turns, by: item.role}",
        [{"role": "bot", "text": "Yo"}, {"role": "user", "text": "Hi"}],
    ),
    ("{function: python_literal, of: a, options: {deep: 1}}", ["x", {"deep": 1}]),
]


@pytest.mark.parametrize(("text", "expected"), CASES)
def test_each_form_gives_its_value(evaluate, text, expected):
    found = evaluate(text)
    assert found == expected
    assert type(found) is type(expected)


def test_every_form_is_tried_above():
    texts = " ".join(text for text, _ in CASES)
    assert [form for form in FORMS if f"{{{form}: " not in texts] == []


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{text: "{nothing}"}', "null where text is needed"),
        ("{join: [a, nothing]}", "null where text is needed"),
        ("{join: a}", "text where a list is needed"),
        ("{each: nothing, do: item}", "null where a list is needed"),
        ("{bin: a, at: [1], to: [l, h]}", "text where a number is needed"),
        ("{map: a, to: {z: 1}, else: skip}", "`map` meets a value it does not know"),
        ("{find: a, in: list, else: skip}", "`find` meets a value it does not know"),
        ("{majority: {const: [1, 2]}}", "no majority"),
        ("{majority: {const: []}}", "no majority"),
        ("{mean: list}", "text where a number is needed"),
        ("{mean: {const: []}}", "no number"),
        ("{mean: {const: [true]}}", "a boolean where a number is needed"),
        ("{argmax: {const: [1, 2, 2]}}", "no largest value"),
        ("{argmax: {const: []}}", "no largest value"),
        ("{zip: {a: list, b: turns}}", "differ in length"),
        ("{sort: [a, n]}", "cannot be compared"),
        ("{json: sentence}", "not JSON"),
        ("{mark: sentence, spans: [{name: A, start: 4, end: 99}]}", "a span lies outside"),
        ("{mark: sentence, spans: [{name: A, start: n, text: {const: cat}}]}", "differs"),
        ("{spans: list, tokens: tokens}", "tokens and tags differ in number"),
    ],
)
def test_a_row_without_a_usable_value_is_skipped(evaluate, text, reason):
    with pytest.raises(RowSkipped, match=reason):
        evaluate(text)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("{map: a, to: {z: 1}}", "ANN201"),
        ("{map: nothing, to: {x: 1}}", "ANN201"),
        ("{map: {const: -1}, to: [a, b]}", "ANN201"),
        ("{find: a, in: list}", "ANN201"),
        ("{find: flag, in: {const: [1]}}", "ANN201"),
        ('{text: "{list}"}', "ANN203"),
        ("{spans: {const: [7, 7, 7, 7]}, tokens: tokens}", "ANN204"),
        ("{function: function_specs, of: a}", "ANN202"),
    ],
)
def test_a_value_the_annotation_does_not_know_is_an_error(evaluate, text, code):
    with pytest.raises(AnnotationError) as caught:
        evaluate(text)
    assert caught.value.code == code


def test_text_from_data_is_never_read_as_a_template(evaluate):
    row = {"a": "{b} {a.__class__} {{x}}", "b": "secret"}
    assert evaluate('{text: "<{a}>"}', row) == "<{b} {a.__class__} {{x}}>"


CONDITIONS = [
    ("{of: a, eq: x}", True),
    ("{of: a, eq: {value: b}}", False),
    ("{of: a, ne: x}", False),
    ("{of: n, lt: 3}", False),
    ("{of: n, le: 3}", True),
    ("{of: n, gt: 2.5}", True),
    ("{of: n, ge: 4}", False),
    ("{of: a, lt: 3}", False),
    ("{of: nothing, lt: 3}", False),
    ("{of: a, in: [x, z]}", True),
    ("{of: a, in: {value: list}}", False),
    ("{of: n, not_in: [-1]}", True),
    ("{of: nothing, null: true}", True),
    ("{of: a, null: false}", True),
    ("{of: missing, null: true}", True),
    ("{of: empty, truthy: false}", True),
    ("{of: list, truthy: true}", True),
    ("{of: sentence, contains: cat}", True),
    ("{of: list, contains: q}", True),
    ("{of: n, contains: 3}", False),
    ("{of: sentence, starts: The}", True),
    ("{of: sentence, ends: The}", False),
    ("{of: sentence, matches: 'c[ao]t'}", True),
    ("{of: n, matches: '3'}", False),
    ("{of: a, is: text}", True),
    ("{of: flag, is: number}", False),
    ("{of: turns, is: list}", True),
    ("{of: nothing, is: 'null'}", True),
    ("{all: [{of: a, eq: x}, {of: b, eq: y}]}", True),
    ("{any: [{of: a, eq: y}, {of: b, eq: z}]}", False),
    ("{not: {of: a, eq: y}}", True),
]


@pytest.mark.parametrize(("text", "expected"), CONDITIONS)
def test_conditions_compare_values(condition, text, expected):
    assert compile_condition(condition(text), {})(ROW) is expected
