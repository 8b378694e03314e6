"""Prompting-mode text to calls, as the official handler reads it, without running anything.

The official code adds missing brackets, parses with `ast`, and turns each argument into a value
by the type of its node. It calls `eval` on one kind of node, binary operations. Here those are
computed from constants with limits on the size of results; an operation on anything but
constants fails to decode.
"""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable
from typing import Any

from pipeline.errors import ParseError
from pipeline.functions.python_calls import parse_expression

Value = Any
"""A decoded value: JSON, and in Python text also tuples, bytes and complex numbers."""

MAX_RESULT_SIZE = 1_000_000
"""Most bits of a computed integer, or items of a computed text or list."""

_LARGE_FIELD = re.compile(r"%[^a-zA-Z%]*(?:\*|\d{4})")

_BINARY: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
    ast.LShift: operator.lshift,
    ast.RShift: operator.rshift,
    ast.BitOr: operator.or_,
    ast.BitAnd: operator.and_,
    ast.BitXor: operator.xor,
}
_UNARY: dict[type[ast.unaryop], Callable[[Any], Any]] = {
    ast.UAdd: operator.pos,
    ast.USub: operator.neg,
    ast.Invert: operator.invert,
    ast.Not: operator.not_,
}


def decode_python_calls(text: str) -> list[dict[Any, Any]]:
    """Return the calls in `text`.

    Raises:
        ValueError: The text is not a list of calls.
        ArithmeticError, AttributeError, LookupError, MemoryError, RecursionError, TypeError:
            The official code would raise for some argument; the exact type is not promised.
    """
    trimmed = text.strip("`\n ")
    opening = "" if trimmed.startswith("[") else "["
    closing = "" if (opening + trimmed).endswith("]") else "]"
    try:
        body = parse_expression(f"{opening}{trimmed}{closing}".strip().strip("'"))
    except ParseError as error:
        raise ValueError(error.message) from error
    if isinstance(body, ast.Call):
        return [_read_call(body)]
    if not isinstance(body, ast.List | ast.Tuple | ast.Set):
        raise ValueError("not a list")
    return [_read_call(node) for node in body.elts]


def _read_call(node: ast.expr) -> dict[Any, Any]:
    if not isinstance(node, ast.Call):
        raise ValueError("an item is not a call")
    parts: list[str] = []
    function = node.func
    while isinstance(function, ast.Attribute):
        parts.append(function.attr)
        function = function.value
    if isinstance(function, ast.Name):
        parts.append(function.id)
    # Positional arguments are dropped; `**x` is kept under the key None, as officially.
    arguments = {keyword.arg: _read_value(keyword.value) for keyword in node.keywords}
    return {".".join(reversed(parts)): arguments}


def _read_value(node: ast.expr | None) -> Value:
    match node:
        case ast.Constant():
            return "..." if node.value is Ellipsis else node.value
        case ast.UnaryOp():
            # Every sign counts as minus: the official `+5` is -5.
            return -node.operand.value  # type: ignore[attr-defined]  # fails as officially
        case ast.List():
            return [_read_value(item) for item in node.elts]
        case ast.Tuple():
            return tuple(_read_value(item) for item in node.elts)
        case ast.Dict():
            pairs = zip(node.keys, node.values, strict=True)
            return {_read_value(key): _read_value(value) for key, value in pairs}
        case ast.BinOp():
            return compute_constant(node)
        case ast.Name():
            return node.id
        case ast.Call():
            return _read_call(node) if node.keywords else ast.unparse(node)
        case ast.Subscript():
            return f"{ast.unparse(node.value)}[{ast.unparse(node.slice)}]"
    raise ValueError(f"{type(node).__name__} is not read")


def compute_constant(node: ast.expr) -> Value:
    """Return the value of an expression made of constants only.

    Raises:
        ValueError: Something else than constants, or a result above `MAX_RESULT_SIZE`.
        ArithmeticError, LookupError, TypeError: The operation itself fails.
    """
    match node:
        case ast.Constant():
            return node.value
        case ast.Tuple():
            return tuple(compute_constant(item) for item in node.elts)
        case ast.List():
            return [compute_constant(item) for item in node.elts]
        case ast.Set():
            return {compute_constant(item) for item in node.elts}
        case ast.Dict():
            return {
                compute_constant(_present(key)): compute_constant(value)
                for key, value in zip(node.keys, node.values, strict=True)
            }
        case ast.UnaryOp():
            return _UNARY[type(node.op)](compute_constant(node.operand))
        case ast.BinOp():
            return _apply(node.op, compute_constant(node.left), compute_constant(node.right))
    raise ValueError(f"{type(node).__name__} is not a constant")


def _present(key: ast.expr | None) -> ast.expr:
    if key is None:
        raise ValueError("** is not a constant")
    return key


def _apply(operation: ast.operator, left: Value, right: Value) -> Value:
    is_too_large = (
        _power_is_too_large(left, right)
        if isinstance(operation, ast.Pow)
        else _product_is_too_large(operation, left, right)
    )
    if is_too_large:
        raise ValueError("result too large")
    result = _BINARY[type(operation)](left, right)
    if _size(result) > MAX_RESULT_SIZE:
        raise ValueError("result too large")
    return result


def _power_is_too_large(left: Value, right: Value) -> bool:
    if not isinstance(left, int) or not isinstance(right, int):
        return False
    return left.bit_length() * max(right, 0) > MAX_RESULT_SIZE


def _product_is_too_large(operation: ast.operator, left: Value, right: Value) -> bool:
    if isinstance(operation, ast.LShift) and isinstance(right, int):
        return right > MAX_RESULT_SIZE
    if isinstance(operation, ast.Mod) and isinstance(left, str | bytes):
        form = left if isinstance(left, str) else left.decode("latin-1")
        return _LARGE_FIELD.search(form) is not None
    if isinstance(operation, ast.Mult):
        return any(
            hasattr(items, "__len__")
            and isinstance(count, int)
            and len(items) * count > MAX_RESULT_SIZE
            for items, count in ((left, right), (right, left))
        )
    return False


def _size(value: Value) -> int:
    if isinstance(value, int):
        return value.bit_length()
    return len(value) if hasattr(value, "__len__") else 1
