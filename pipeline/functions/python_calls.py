"""Calls written as Python, e.g. `[search(query="tea", limit=3), book(id="x")]`.

The text goes through `ast.parse`, which builds a tree and runs nothing, and only literals are
read from the tree. A label is an assignment: `[var1 := search(query="tea")]`. An argument whose
name is no Python name, such as `from`, stands in `**{"from": ...}`.
"""

from __future__ import annotations

import ast
import keyword
import unicodedata
import warnings
from collections.abc import Mapping, Sequence

from pipeline.errors import ParseError
from pipeline.functions.json_text import (
    MAX_DEPTH,
    check_float,
    check_integer,
    check_text,
    dump_json,
    excerpt,
)
from pipeline.functions.references import check_references
from pipeline.types import FunctionCall, Json

_JSON_CONSTANTS: dict[str, Json] = {"true": True, "false": False, "null": None}


def render_python_calls(calls: Sequence[FunctionCall]) -> str:
    """Return the calls as a Python list of calls.

    Raises:
        ParseError: `FUN406`, a function name that is no dotted Python name.
        ValueError: An argument is NaN or infinite.
    """
    return "[" + ", ".join(_render_call(call) for call in calls) + "]"


def parse_python_calls(text: str, *, has_json_constants: bool = False) -> list[FunctionCall]:
    """Read one call or a list of calls; text without an opening bracket holds no call.

    Args:
        text: The text.
        has_json_constants: Whether `true`, `false` and `null` are constants too.

    Raises:
        ParseError: `FUN101` too long, `FUN102` too deep, `FUN104` repeated argument, `FUN105`
            number out of range, `FUN404` no Python expression, `FUN405` anything but literals.
    """
    stripped = check_text(text)
    if not stripped or stripped == "[]" or not any(sign in stripped for sign in "([{"):
        return []
    body = parse_expression(stripped)
    nodes = body.elts if isinstance(body, ast.List) else [body]
    constants = _JSON_CONSTANTS if has_json_constants else {}
    calls = [_read_call(node, constants) for node in nodes]
    check_references(calls)
    return calls


def parse_expression(text: str) -> ast.expr:
    """Return the syntax tree of one expression.

    Raises:
        ParseError: `FUN404` not Python, `FUN102` too deep for the parser.
    """
    try:
        with warnings.catch_warnings():
            # Odd escapes such as "\d" warn; a model's text is not a program to improve.
            warnings.simplefilter("ignore")
            return ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError) as error:
        raise ParseError("FUN404", f"not a Python expression: {excerpt(text)}") from error
    except (RecursionError, MemoryError) as error:
        raise ParseError("FUN102", f"nested too deep to parse: {excerpt(text)}") from error


def dotted_name(node: ast.expr) -> str | None:
    """Return `a.b.c` for names and attributes of names, else `None`."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name):
        return None
    return ".".join(reversed([*parts, node.id]))


def _read_call(node: ast.expr, constants: Mapping[str, Json]) -> FunctionCall:
    label = None
    if isinstance(node, ast.NamedExpr):
        label, node = node.target.id, node.value
    if not isinstance(node, ast.Call):
        raise _not_allowed(node, "a call was expected")
    name = dotted_name(node.func)
    if name is None:
        raise _not_allowed(node, "only a dotted name can be called")
    if node.args:
        raise _not_allowed(node, "arguments need their names")
    arguments: dict[str, Json] = {}
    for item in node.keywords:
        if item.arg is not None:
            pairs = {item.arg: _read_value(item.value, 1, constants)}
        elif isinstance(item.value, ast.Dict):
            pairs = _read_dict(item.value, 1, constants)
        else:
            raise _not_allowed(item.value, "** needs a literal dict")
        for key, value in pairs.items():
            if key in arguments:
                raise ParseError("FUN104", f"argument {excerpt(key)} of {excerpt(name)} twice")
            arguments[key] = value
    return FunctionCall(name=name, arguments=arguments, label=label)


def _read_value(node: ast.expr, depth: int, constants: Mapping[str, Json]) -> Json:
    if depth > MAX_DEPTH:
        raise ParseError("FUN102", f"nested deeper than {MAX_DEPTH} levels")
    if isinstance(node, ast.Constant):
        return _read_constant(node)
    if isinstance(node, ast.List | ast.Tuple):
        return [_read_value(item, depth + 1, constants) for item in node.elts]
    if isinstance(node, ast.Dict):
        return dict(_read_dict(node, depth, constants))
    if isinstance(node, ast.Name) and node.id in constants:
        return constants[node.id]
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.UAdd | ast.USub):
        return _read_signed(node)
    raise _not_allowed(node, "only literals are read")


def _read_dict(node: ast.Dict, depth: int, constants: Mapping[str, Json]) -> dict[str, Json]:
    result: dict[str, Json] = {}
    for key_node, value_node in zip(node.keys, node.values, strict=True):
        if not isinstance(key_node, ast.Constant) or not isinstance(key_node.value, str):
            raise _not_allowed(key_node or value_node, "dict keys must be texts")
        key = check_text_of(key_node.value)
        if key in result:
            raise ParseError("FUN104", f"key {excerpt(key)} stands twice in one dict")
        result[key] = _read_value(value_node, depth + 1, constants)
    return result


def _read_constant(node: ast.Constant) -> Json:
    value = node.value
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return check_text_of(value)
    if isinstance(value, int):
        return check_integer(value)
    if isinstance(value, float):
        return check_float(value)
    raise _not_allowed(node, f"{type(value).__name__} is no JSON value")


def _read_signed(node: ast.UnaryOp) -> Json:
    operand = node.operand
    value = operand.value if isinstance(operand, ast.Constant) else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _not_allowed(node, "a sign needs a number")
    number = check_integer(value) if isinstance(value, int) else check_float(value)
    return -number if isinstance(node.op, ast.USub) else number


def check_text_of(value: str) -> str:
    """Return a string constant unchanged when UTF-8 can hold it.

    Raises:
        ParseError: `FUN105`.
    """
    if not value.isascii():
        check_text(value, max_bytes=None)
    return value


def _not_allowed(node: ast.expr, reason: str) -> ParseError:
    return ParseError("FUN405", f"{type(node).__name__} at column {node.col_offset + 1}: {reason}")


def _render_call(call: FunctionCall) -> str:
    if not all(_is_python_name(part) for part in call.name.split(".")):
        raise ParseError(
            "FUN406",
            f"{excerpt(call.name)} cannot be written as a Python call",
            hint="Set another function_format, e.g. json, or leave the task out",
        )
    dump_json(call.arguments)
    plain = {key: value for key, value in call.arguments.items() if _is_python_name(key)}
    other = {key: value for key, value in call.arguments.items() if key not in plain}
    parts = [f"{key}={value!r}" for key, value in plain.items()]
    if other:
        parts.append(f"**{other!r}")
    label = f"{call.label} := " if call.label is not None else ""
    return f"{label}{call.name}({', '.join(parts)})"


def _is_python_name(text: str) -> bool:
    # Python folds names to NFKC, so a name that changes by folding would not come back.
    is_folded = unicodedata.normalize("NFKC", text) == text
    return text.isidentifier() and not keyword.iskeyword(text) and is_folded
