"""The odd rules of the official checker, one by one."""

from __future__ import annotations

import pytest

from eval.bfcl.categories import CATEGORIES
from eval.bfcl.checker import CRASH, check_calls


def spec(name="f", required=(), **types):
    properties = {
        key: {"type": "array", "items": {"type": kind[6:]}}
        if kind.startswith("array ")
        else {"type": "tuple", "items": {"type": "float"}}
        if kind == "tuple"
        else {"type": kind}
        for key, kind in types.items()
    }
    parameters = {"type": "dict", "properties": properties, "required": list(required)}
    return {"name": name, "parameters": parameters}


def check(kind, options, value):
    """Check one argument `a` of a declared type."""
    return check_calls(
        [{"f": {"a": value}}],
        functions=[spec(a=kind)],
        ground_truth=[{"f": {"a": options}}],
        category=CATEGORIES["simple_python"],
    )


@pytest.mark.parametrize(
    ("kind", "options", "value", "error"),
    [
        # integers become floats only at the top level of a float parameter
        ("float", [5.0], 5, None),
        ("array float", [[1.0, 2.0]], [1, 2], "type_error:nested"),
        ("integer", [5], 5.0, "type_error:simple"),
        ("integer", [1], True, "type_error:simple"),
        ("boolean", [True], 1, "type_error:simple"),
        ("float", [0.3], 0.1 + 0.2, "value_error:others"),
        ("integer", [5], "5", "type_error:simple"),
        # texts are compared without case and without space , . / - _ * ^
        ("string", ["newyork"], "New-York,", None),
        ("string", ["New York"], "New York\n", "value_error:string"),
        ("string", ["it's"], 'IT"S', None),
        ("string", ["a:b"], "ab", "value_error:string"),
        ("string", ["", "x"], "", None),
        ("integer", [5, ""], "", "type_error:simple"),
        ("string", ["x", ""], None, "type_error:simple"),
        # another type in the answer than declared: a variable, compared exactly
        ("integer", ["user_id"], "user_id", None),
        ("integer", ["user_id"], "User_ID", "value_error:others"),
        # lists: order and repeats count, one level of types
        ("array string", [["a b", "c"]], ["A-B", "C"], None),
        ("array string", [["a", "b"]], ["b", "a"], "value_error:list/tuple"),
        ("array integer", [[1]], [1, 1], "value_error:list/tuple"),
        ("array integer", [[1], ""], [], None),
        ("array integer", [[1]], (1,), "type_error:simple"),
        ("tuple", [[1.0, 2.0]], (1.0, 2.0), None),
        ("tuple", [[1.0, 2.0]], [1.0, 2.0], None),
        # dicts: keys exact, values without types, keys may be missing with ""
        ("dict", [{"k": [5]}], {"k": 5.0}, None),
        ("dict", [{"k": [1]}], {"k": True}, None),
        ("dict", [{"k": [1], "o": [2, ""]}], {"k": 1}, None),
        ("dict", [{"k": [1], "o": [2]}], {"k": 1}, "value_error:dict_key"),
        ("dict", [{"k": [1]}], {"K": 1}, "value_error:dict_key"),
        ("dict", [{"k": ["A b"]}], {"k": "a-B"}, None),
        ("dict", [{"k": [1], "o": [2]}], {"k": 9, "o": 2}, "value_error:dict_value"),
        ("dict", [{"k": [1], "o": [2]}], {"k": 9}, "value_error:dict_key"),
        ("dict", [""], {}, "dict_checker:unclear"),
        ("array dict", [[{"k": [1]}]], [{"k": 1}, {"k": 1}], "value_error:list_dict_count"),
        ("array dict", [[{"k": [1]}, {"k": [2]}]], [{"k": 2}, {"k": 1}], "value_error:dict_value"),
        ("array dict", [[{"k": [1]}]], [{"k": 1}], None),
        # the official checker stops with a traceback
        ("number", [1], 1, CRASH),
        ("float", [1.0], 10**400, CRASH),
    ],
)
def test_an_argument_is_compared_as_officially(kind, options, value, error):
    assert check(kind, options, value) == error


@pytest.mark.parametrize(
    ("call", "error"),
    [
        ({"f": {"a": 1}}, None),
        ({"f": {"a": 1, "b": 2}}, None),
        ({"g": {"a": 1}}, "wrong_func_name"),
        ({"f": {"b": 2}}, "missing_required"),
        ({"f": {"a": 1, "z": 1}}, "unexpected_param"),
        ({"f": {"a": 1, "c": 3}}, "unexpected_param"),
        ({"f": {"a": 1, None: 1}}, "unexpected_param"),
    ],
)
def test_names_and_parameters_are_compared_in_the_official_order(call, error):
    functions = [spec(required=["a"], a="integer", b="integer", c="integer")]
    result = check_calls(
        [call],
        functions=functions,
        ground_truth=[{"f": {"a": [1], "b": [2, ""]}}],
        category=CATEGORIES["simple_python"],
    )
    assert result == (error and f"simple_function_checker:{error}")


def test_an_expected_parameter_that_is_not_required_must_be_given():
    result = check_calls(
        [{"f": {}}],
        functions=[spec(a="integer")],
        ground_truth=[{"f": {"a": [1]}}],
        category=CATEGORIES["live_simple"],
    )
    assert result == "simple_function_checker:missing_optional"


@pytest.mark.parametrize(
    ("category", "count", "error"),
    [
        ("simple_python", 2, "simple_function_checker:wrong_count"),
        ("live_multiple", 2, "multiple_function_checker:wrong_count"),
        ("live_parallel_multiple", 3, "parallel_function_checker_no_order:wrong_count"),
        ("parallel", 0, "parallel_function_checker_no_order:wrong_count"),
    ],
)
def test_the_count_is_checked_first(category, count, error):
    answers = [{"f": {"a": [1]}}] * (2 if "parallel" in category else 1)
    result = check_calls(
        [{"f": {"a": 1}}] * count,
        functions=[spec(a="integer")],
        ground_truth=answers,
        category=CATEGORIES[category],
    )
    assert result == error


def test_parallel_matching_is_greedy_and_so_may_miss_a_right_assignment():
    # Answer 1 accepts both calls and takes the first; answer 2 accepts only that one.
    arguments = {
        "functions": [spec(a="integer")],
        "ground_truth": [{"f": {"a": [1, 2]}}, {"f": {"a": [1]}}],
        "category": CATEGORIES["parallel"],
    }
    assert check_calls([{"f": {"a": 2}}, {"f": {"a": 1}}], **arguments) is None
    wrong = "parallel_function_checker_no_order:cannot_find_match"
    assert check_calls([{"f": {"a": 1}}, {"f": {"a": 2}}], **arguments) == wrong


@pytest.mark.parametrize(
    ("name", "underscore_to_dot", "is_right"),
    [
        ("math.sum", False, True),
        ("math_sum", False, False),
        ("math_sum", True, True),
        ("math.sum", True, False),
    ],
)
def test_dots_in_names_follow_the_model_entry(name, underscore_to_dot, is_right):
    result = check_calls(
        [{name: {"a": 1}}],
        functions=[spec("math.sum", a="integer")],
        ground_truth=[{"math.sum": {"a": [1]}}],
        category=CATEGORIES["multiple"],
        underscore_to_dot=underscore_to_dot,
    )
    assert (result is None) == is_right
