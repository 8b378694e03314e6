import pytest

from pipeline.annotations.check import check_files, check_golden, functions_used, golden_values
from pipeline.errors import AnnotationError

GOLDEN = """
  - row: {sentence: Hi, label: 1}
    example: {inputs: {text: Hi}, target: happy}
"""


def golden_errors(annotation, functions=None):
    errors = check_golden(annotation, lambda task, row: golden_values(task, row, functions))
    return [str(error) for error in errors]


def test_right_golden_rows_pass(annotate):
    assert golden_errors(annotate(golden=GOLDEN)) == []
    choices = "[{row: {sentence: Hi, label: 1}, example: {choices: [sad, happy]}}]"
    assert golden_errors(annotate(golden=choices)) == []


@pytest.mark.parametrize(
    ("golden", "part"),
    [
        (
            "[{row: {sentence: Hi, label: 0}, example: {target: happy}}]",
            'target is "sad", "happy" is expected. [ANN171]',
        ),
        (
            "[{row: {sentence: Hi, label: 0}, example: {inputs: {text: Ho}}}]",
            'inputs is {"text": "Hi"}, {"text": "Ho"} is expected. [ANN171]',
        ),
        (
            "[{row: {sentence: Hi, label: 0}, skipped: true}]",
            "the row gives 1 examples, 0 are expected. [ANN171]",
        ),
        (
            "[{row: {sentence: null, label: 0}, example: {}}]",
            "the row gives 0 examples, 1 are expected; left out: fields.text: null. [ANN171]",
        ),
        ("[{row: {sentence: Hi, label: 0}, example: {answer: x}}]", "not 'answer'. [ANN171]"),
        ("[{row: {sentence: Hi, label: 9}, skipped: true}]", "[ANN205]"),
    ],
)
def test_a_golden_row_that_differs_is_told_with_its_place(annotate, golden, part):
    (error,) = golden_errors(annotate(golden=golden))
    assert error.startswith("f.yaml:9:10: golden[0]: ")
    assert part in error


def test_a_column_that_a_golden_row_lacks_is_named(annotate):
    fields = "{text: sentense, target: label}"
    golden = "[{row: {sentence: Hi, label: 0}, example: {target: sad}}]"
    (error,) = golden_errors(annotate(fields=fields, golden=golden))
    assert "fields.text: no column 'sentense' in" in error
    assert "(golden[0]). Columns: sentence, label. Did you mean 'sentence'? [ANN104]" in error


def test_a_condition_that_leaves_a_golden_row_out_is_named(annotate):
    golden = "[{row: {sentence: Hi, label: 0}, example: {target: sad}}]"
    rows = "[{where: {of: label, eq: 1}}]"
    (error,) = golden_errors(annotate(rows=rows, golden=golden))
    assert "0 examples, 1 are expected; left out: rows[0]: where. [ANN171]" in error


def test_numbers_and_booleans_of_golden_rows_are_told_apart(annotate):
    fields = "{text: sentence, context: [n], target: label}"
    row = "{sentence: Hi, n: 1, label: 1}"
    golden = f"[{{row: {row}, example: {{inputs: {{text: Hi, context: [true]}}}}}}]"
    assert "ANN171" in golden_errors(annotate(fields=fields, golden=golden))[0]


def test_the_order_of_inputs_counts(annotate):
    fields = "{text: sentence, context: c, target: label}"
    golden = "[{row: {sentence: a, c: b, label: 0}, example: {inputs: {context: b, text: a}}}]"
    assert "in another order" in golden_errors(annotate(fields=fields, golden=golden))[0]


def test_a_golden_row_may_give_several_examples(annotate):
    golden = """
  - row: {xs: [a, b], label: 0}
    examples: [{inputs: {text: a}, target: sad}, {inputs: {text: b}, target: sad}]
  - {row: {xs: [], label: 0}, examples: []}
"""
    fields = "{text: item, target: label}"
    assert golden_errors(annotate(rows="[{explode: xs}]", fields=fields, golden=golden)) == []


def test_labels_of_the_data_are_taken_from_what_golden_rows_expect(annotate):
    golden = "[{row: {sentence: Hi, label: up}, example: {target: up}}]"
    assert golden_errors(annotate(labels="ABSENT", golden=golden)) == []


def test_side_files_of_golden_rows_are_read_and_missing_ones_told(annotate):
    rows = "[{lookup: {as: found, file: f.jsonl, key: k, of: [sentence]}}]"
    golden = """
  - row: {sentence: Hi, label: 1}
    files: {f.jsonl: [{k: Hi, v: Hello}]}
    example: {inputs: {text: Hello}, target: happy}
  - {row: {sentence: Hi, label: 1}, skipped: true}
"""
    fields = "{text: 'found[0].v', target: label}"
    (error,) = golden_errors(annotate(rows=rows, fields=fields, golden=golden))
    assert "golden[1]: the side file 'f.jsonl' is not under `files`. [ANN170]" in error


@pytest.fixture
def write(tmp_path, base_text):
    def put(name, text=base_text):
        path = tmp_path / name
        path.write_text(text)
        return path

    return put


def test_check_takes_files_and_folders_and_tells_everything(write, tmp_path, base_text):
    good = write("a.yaml")
    assert check_files([good]) == []
    write("b.yaml")
    write("c.yaml", base_text.replace("id: mood", "id: c").replace("licence", "license"))
    codes = [error.code for error in check_files([tmp_path, tmp_path / "nowhere.yaml"])]
    assert codes == ["ANN162", "ANN102", "ANN101", "ANN161"]


def test_check_runs_golden_rows_and_compiles_expressions(write, base_text):
    wrong = write("a.yaml", base_text + "golden:" + GOLDEN.replace("happy", "sad"))
    assert [error.code for error in check_files([wrong])] == ["ANN171"]
    fields = "{clean: sentence, steps: [{sub: ['[[:bad:]]', x]}]}"
    bad = write("b.yaml", base_text.replace("text: sentence", f"text: {fields}"))
    assert [error.code for error in check_files([bad])] == ["ANN206"]


def test_golden_rows_that_need_absent_functions_are_left_out(write, base_text):
    text = base_text.replace("sentence", "{function: python_literal, of: sentence}")
    path = write("a.yaml", text + "golden:" + GOLDEN)
    assert check_files([path]) == []
    functions = {"python_literal": lambda value, **options: value}
    assert check_files([path], functions=functions) == []
    functions["python_literal"] = lambda value, **options: "other"
    assert [error.code for error in check_files([path], functions=functions)] == ["ANN171"]


def test_functions_used_are_listed_once(annotate):
    fields = "{text: {function: python_literal, of: a}, target: label}"
    rows = "[{let: {x: {function: python_literal, of: a}}}]"
    assert functions_used(annotate(fields=fields, rows=rows)) == ("python_literal",)


def test_errors_of_the_evaluation_are_reported_and_not_raised(annotate):
    def fail(annotation, golden):
        raise AnnotationError("ANN201", "no")

    (error,) = check_golden(annotate(golden=GOLDEN), fail)
    assert str(error) == "f.yaml:10:5: golden[0]: no. [ANN201]"
