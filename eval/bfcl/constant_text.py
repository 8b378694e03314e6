"""Values of Python expressions made of constants, computed from the syntax tree.

The official reader calls `eval` on an argument that is a binary operation: `2 * 3`, but also
`round(2.6) * 1` or `"a".upper() + "b"`. Here such values are computed node by node, with a limit
on the size of all results together. Names, attributes, comprehensions and other calls are not
read: where the official code would run them, this raises, and the answer fails to decode.
"""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Iterable
from typing import Any

Value = Any
"""A decoded value: JSON, and in Python text also tuples, bytes and complex numbers."""

MAX_SIZE = 1_000_000
"""Characters, items of containers and bytes of integers that one answer may compute."""

_LARGE_FIELD = re.compile(r"%[^a-zA-Z%]*(?:\*|\d{4})")
_MAX_ROUNDED_DIGITS = 400

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
_COMPARISONS: dict[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.In: lambda left, right: left in right,
    ast.NotIn: lambda left, right: left not in right,
}


def _round(number: Value, digits: Value = None) -> Value:
    if isinstance(digits, int) and abs(digits) > _MAX_ROUNDED_DIGITS:
        raise ValueError("result too large")
    return round(number, digits)


_FUNCTIONS: dict[str, Callable[..., Value]] = {
    "abs": abs,
    "bool": bool,
    "float": float,
    "int": int,
    "len": len,
    "list": list,
    "max": max,
    "min": min,
    "round": _round,
    "sorted": sorted,
    "str": str,
    "tuple": tuple,
}
"""Built-in functions that take time and space in proportion to their arguments."""

_TEXT_METHODS: dict[str, Callable[..., str]] = {
    "capitalize": str.capitalize,
    "lower": str.lower,
    "strip": str.strip,
    "title": str.title,
    "upper": str.upper,
}


class Calculator:
    """Computes the constants of one answer."""

    def __init__(self) -> None:
        """Start with the whole of `MAX_SIZE`."""
        self._left = MAX_SIZE

    def compute(self, node: ast.expr) -> Value:
        """Return the value of an expression made of constants only.

        Raises:
            ValueError: Something else than constants, or too large a result.
            ArithmeticError, AttributeError, LookupError, TypeError: The operation itself fails.
        """
        match node:
            case ast.Constant():
                return node.value
            case ast.Tuple():
                return tuple(self._items(node.elts))
            case ast.List():
                return self._items(node.elts)
            case ast.Set():
                return set(self._items(node.elts))
            case ast.Dict():
                return {
                    self.compute(_present(key)): self.compute(value)
                    for key, value in zip(node.keys, node.values, strict=True)
                }
            case ast.UnaryOp():
                return _UNARY[type(node.op)](self.compute(node.operand))
            case ast.BinOp():
                return self._apply(node.op, self.compute(node.left), self.compute(node.right))
            case ast.BoolOp():
                return self._any_or_all(node)
            case ast.Compare():
                return self._compare(node)
            case ast.IfExp():
                return self.compute(node.body if self.compute(node.test) else node.orelse)
            case ast.NamedExpr():
                return self.compute(node.value)
            case ast.Subscript():
                return self._counted(self.compute(node.value)[self.compute(node.slice)])
            case ast.Slice():
                parts = (node.lower, node.upper, node.step)
                return slice(*(None if part is None else self.compute(part) for part in parts))
            case ast.JoinedStr():
                return self._counted("".join(str(self.compute(part)) for part in node.values))
            case ast.FormattedValue(conversion=-1, format_spec=None):
                return format(self.compute(node.value))
            case ast.Call(keywords=[]):
                return self._counted(self._call(node.func, self._items(node.args)))
        raise ValueError(f"{type(node).__name__} is not a constant")

    def _items(self, nodes: Iterable[ast.expr]) -> list[Value]:
        items: list[Value] = []
        for node in nodes:
            if isinstance(node, ast.Starred):
                items.extend(self._counted(self.compute(node.value)))
            else:
                items.append(self.compute(node))
        return items

    def _any_or_all(self, node: ast.BoolOp) -> Value:
        """Return the first operand that decides, else the last one; the rest is not computed."""
        is_or = isinstance(node.op, ast.Or)
        for operand in node.values[:-1]:
            value = self.compute(operand)
            if bool(value) is is_or:
                return value
        return self.compute(node.values[-1])

    def _compare(self, node: ast.Compare) -> bool:
        left = self.compute(node.left)
        for operation, operand in zip(node.ops, node.comparators, strict=True):
            right = self.compute(operand)
            if not _COMPARISONS[type(operation)](left, right):
                return False
            left = right
        return True

    def _call(self, function: ast.expr, arguments: list[Value]) -> Value:
        if isinstance(function, ast.Name):
            return _FUNCTIONS[function.id](*arguments)
        if not isinstance(function, ast.Attribute):
            raise ValueError("only names are called")
        return _TEXT_METHODS[function.attr](self.compute(function.value), *arguments)

    def _apply(self, operation: ast.operator, left: Value, right: Value) -> Value:
        if _is_surely_too_large(operation, left, right):
            raise ValueError("result too large")
        return self._counted(_BINARY[type(operation)](left, right))

    def _counted(self, value: Value) -> Value:
        """Return the value after its size, with all that is in it, was taken from what is left."""
        parts = [value]
        while parts:
            part = parts.pop()
            if isinstance(part, int):
                self._left -= part.bit_length() // 8
            elif hasattr(part, "__len__"):
                self._left -= len(part)
            if self._left < 0:
                raise ValueError("result too large")
            if isinstance(part, list | tuple | set):
                parts.extend(part)
            elif isinstance(part, dict):
                parts.extend([*part, *part.values()])
        return value


def _present(key: ast.expr | None) -> ast.expr:
    if key is None:
        raise ValueError("** is not a constant")
    return key


def _is_surely_too_large(operation: ast.operator, left: Value, right: Value) -> bool:
    """Return whether an operation would take long or fill the memory before it can be measured."""
    match operation:
        case ast.Pow() if isinstance(left, int) and isinstance(right, int):
            return left.bit_length() * max(right, 0) > 8 * MAX_SIZE
        case ast.LShift() if isinstance(right, int):
            return right > 8 * MAX_SIZE
        case ast.Mod() if isinstance(left, str | bytes):
            form = left if isinstance(left, str) else left.decode("latin-1")
            return _LARGE_FIELD.search(form) is not None
        case ast.Mult():
            return any(
                hasattr(items, "__len__")
                and isinstance(count, int)
                and len(items) * count > MAX_SIZE
                for items, count in ((left, right), (right, left))
            )
    return False
