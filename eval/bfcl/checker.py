"""Whether decoded calls are a right answer, by the rules of the official checker.

The verdict and the error type are those of `ast_checker` in bfcl-eval 2026.3.23, odd rules
included, since a score is only worth something beside other scores made the same way. Compared:
the number of calls, names, required and expected arguments, types by identity, values.

Where the official checker would stop with a traceback, the verdict is `CRASH`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, cast

from eval.bfcl.categories import Category, Language
from eval.bfcl.constant_text import Value
from eval.bfcl.foreign_values import (
    JAVA_TYPES,
    JAVASCRIPT_TYPES,
    convert_java,
    convert_javascript,
)

CRASH = "checker_error:official_crash"
"""Error type of answers on which the official evaluator itself stops with a traceback."""

_PREFIX = "simple_function_checker:"
_IGNORED_CHARACTERS = re.compile(r"[ ,./\-_*^]")
_PYTHON_TYPES: dict[str, type] = {
    "string": str,
    "integer": int,
    "float": float,
    "boolean": bool,
    "array": list,
    "tuple": list,
    "dict": dict,
    "any": str,
}

_TYPES: Mapping[Language, Mapping[str, type]] = {
    "python": _PYTHON_TYPES,
    "java": JAVA_TYPES,
    "javascript": JAVASCRIPT_TYPES,
}
_TYPES_WITH_ITEMS: Mapping[Language, tuple[str, ...]] = {
    "python": ("array", "tuple"),
    "java": ("Array", "ArrayList"),
    "javascript": ("array",),
}
_OFFICIAL_CRASHES = (
    KeyError,
    IndexError,
    TypeError,
    AttributeError,
    OverflowError,
    RecursionError,
    ValueError,
)

Call = Mapping[Any, Mapping[Any, Any]]
"""One decoded call: `{name: {argument: value}}`."""


def check_calls(
    calls: Sequence[Call],
    *,
    functions: Sequence[Mapping[str, Any]],
    ground_truth: Sequence[Mapping[str, Any]],
    category: Category,
    underscore_to_dot: bool = False,
) -> str | None:
    """Compare calls with the answers of one row.

    Args:
        calls: Decoded calls, each with one name and an argument dict.
        functions: The row's function specs in BFCL's own types.
        ground_truth: One `{name: {parameter: [accepted values]}}` per expected call; `""` among
            the values means that the parameter may be left out.
        category: Tells which of the three ways of comparing applies.
        underscore_to_dot: Whether the model's names have `_` where BFCL's have `.`.

    Returns:
        `None` for a right answer, else the official error type.
    """
    try:
        if category.scoring == "parallel":
            return _check_parallel(calls, functions, ground_truth, underscore_to_dot)
        checker = "multiple" if category.scoring == "multiple" else "simple"
        expected_count = len(ground_truth) if checker == "multiple" else 1
        if len(calls) != expected_count:
            return f"{checker}_function_checker:wrong_count"
        answer = ground_truth[0]
        language = category.language
        spec = _find_spec(functions, answer) if checker == "multiple" else functions[0]
        return _check_call(calls[0], spec, answer, underscore_to_dot, language=language)
    except _OFFICIAL_CRASHES:
        # The official checker has the same operations without a guard: a declared type that it
        # does not know, an integer too large for a float, a list item that should be a dict.
        return CRASH


def _check_parallel(
    calls: Sequence[Call],
    functions: Sequence[Mapping[str, Any]],
    ground_truth: Sequence[Mapping[str, Any]],
    underscore_to_dot: bool,
) -> str | None:
    """Give each answer, in order, the first free call that fits: greedy, not optimal."""
    if len(calls) != len(ground_truth):
        return "parallel_function_checker_no_order:wrong_count"
    free = list(calls)
    for answer in ground_truth:
        spec = _find_spec(functions, answer)
        for index, call in enumerate(free):
            if _check_call(call, spec, answer, underscore_to_dot) is None:
                del free[index]
                break
        else:
            return "parallel_function_checker_no_order:cannot_find_match"
    return None


def _find_spec(
    functions: Sequence[Mapping[str, Any]], answer: Mapping[str, Any]
) -> Mapping[str, Any]:
    name = next(iter(answer))
    for spec in functions:
        if spec["name"] == name:
            return spec
    raise KeyError(name)


def _check_call(
    call: Call,
    spec: Mapping[str, Any],
    answer: Mapping[str, Any],
    underscore_to_dot: bool,
    *,
    language: Language = "python",
) -> str | None:
    accepted: Mapping[str, Any] = next(iter(answer.values()))
    declared: Mapping[str, Any] = spec["parameters"]["properties"]
    required: Sequence[str] = spec["parameters"]["required"]
    name = spec["name"].replace(".", "_") if underscore_to_dot else spec["name"]
    if name not in call:
        return _PREFIX + "wrong_func_name"
    arguments = call[name]
    if any(parameter not in arguments for parameter in required):
        return _PREFIX + "missing_required"
    for parameter, value in arguments.items():
        if parameter not in declared or parameter not in accepted:
            return _PREFIX + "unexpected_param"
        error = _check_argument(value, declared[parameter], accepted[parameter], language)
        if error is not None:
            return error
    for parameter, options in accepted.items():
        if parameter not in arguments and "" not in options:
            return _PREFIX + "missing_optional"
    return None


def _check_argument(
    value: Value, declared: Mapping[str, Any], options: Sequence[Any], language: Language
) -> str | None:
    type_name = declared["type"]
    types = _TYPES[language]
    expected = types[type_name]
    if language != "python" and type(value) is not str:
        return "type_error:java" if language == "java" else "type_error:js"
    item_type = None
    if type_name in _TYPES_WITH_ITEMS[language]:
        item_type = declared["items"]["type"]
    nested = None if item_type is None else types[item_type]
    if language == "java":
        value = convert_java(value, type_name, item_type)
    elif language == "javascript":
        value = convert_javascript(value, type_name, item_type)
    elif type_name == "tuple" and type(value) is tuple:
        value = list(value)
    elif type_name == "float" and type(value) is int:
        value = float(value)
    error, is_variable = _check_type(value, options, expected, nested)
    if error is not None:
        return error
    # An answer of another type than declared stands for a variable and is compared as it is.
    if not is_variable:
        if expected is dict:
            return _check_dict(value, options)
        if expected is list and nested is dict:
            return _check_dicts(value, options)
        if expected is str:
            return _check_string(value, options)
        if expected is list:
            return _check_list(value, options)
    return None if value in options else "value_error:others"


def _check_type(
    value: Value, options: Sequence[Any], expected: type, nested: type | None
) -> tuple[str | None, bool]:
    """Return the error type or `None`, and whether the value counts as a variable."""
    option_type = next((type(option) for option in options if option != ""), None)
    is_variable = option_type is not None and option_type is not expected
    if type(value) is expected:
        if nested is None or any(
            _items_fit(cast("Sequence[Value]", value), option, nested) for option in options
        ):
            return None, is_variable
        return (
            "type_error:nested" if option_type is expected else "type_error:simple"
        ), is_variable
    if option_type is type(value):
        return None, True
    return "type_error:simple", False


def _items_fit(value: Sequence[Any], option: Value, nested: type) -> bool:
    # An option that is no list, such as the mark "" for "may be left out", fits everything.
    if type(option) is not list:
        return True
    return all(_check_type(item, option, nested, None)[0] is None for item in value)


def _fold(value: Value) -> Value:
    """Return a text without case and the ignored characters; other values as they are."""
    if type(value) is not str:
        return value
    return _IGNORED_CHARACTERS.sub("", value).lower().replace("'", '"')


def _check_string(value: str, options: Sequence[Any]) -> str | None:
    folded = [_fold(option) for option in options if type(option) is str]
    return None if _fold(value) in folded else "value_error:string"


def _check_list(value: Sequence[Any], options: Sequence[Any]) -> str | None:
    folded = [[_fold(item) for item in _items(option)] for option in options]
    return None if [_fold(item) for item in value] in folded else "value_error:list/tuple"


def _items(option: Value) -> list[Any]:
    """Return the items by position, as the official loop over `range(len(...))` reads them."""
    return [option[index] for index in range(len(option))]


def _check_dict(value: Mapping[Any, Any], options: Sequence[Any]) -> str | None:
    """Return `None` when some option fits, else the error of the last one that was compared."""
    error: str | None = "dict_checker:unclear"
    for option in options:
        if option == "":
            continue
        error = _compare_dict(value, option)
        if error is None:
            return None
    return error


def _compare_dict(value: Mapping[Any, Any], option: Mapping[Any, Any]) -> str | None:
    error = None
    for key, item in value.items():
        if key not in option:
            error = "value_error:dict_key"
            break
        if _fold(item) not in [_fold(accepted) for accepted in _items(option[key])]:
            error = "value_error:dict_value"
            break
    for key, accepted in option.items():
        if key not in value and "" not in accepted:
            # A missing key replaces the error above.
            return "value_error:dict_key"
    return error


def _check_dicts(value: Sequence[Any], options: Sequence[Any]) -> str | None:
    error: str | None = "list_dict_checker:unclear"
    for option in options:
        if len(value) != len(option):
            error = "value_error:list_dict_count"
            continue
        error = None
        for item, accepted in zip(value, option, strict=True):
            error = _check_dict(item, [accepted])
            if error is not None:
                break
        if error is None:
            return None
    return error
