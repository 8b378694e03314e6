import pytest

from pipeline.annotations.references import computed_names, evaluation_order, functions_in


def test_fields_are_ordered_by_what_they_read(expression):
    fields = {
        "target": expression("{find: a, in: $choices}"),
        "choices": expression("[$first, b]"),
        "first": expression("a"),
    }
    assert evaluation_order(fields) == ["first", "choices", "target"]
    assert computed_names(fields["choices"]) == {"first"}


def test_a_circle_of_fields_is_found(expression):
    fields = {"ok": expression("a"), "x": expression("$y"), "y": expression("[$x]")}
    with pytest.raises(ValueError, match="x"):
        evaluation_order(fields)


def test_functions_are_found_wherever_they_stand(expression, annotate):
    text = "{each: a, do: {function: function_calls, of: {function: python_literal, of: item}}}"
    assert list(functions_in(expression(text))) == ["function_calls", "python_literal"]
    annotation = annotate(rows="[{let: {x: {function: function_specs, of: a}}}]")
    assert list(functions_in(annotation.rows, annotation.fields)) == ["function_specs"]
