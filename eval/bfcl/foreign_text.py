"""Prompting-mode calls in Java and JavaScript to argument texts, as read officially.

The official code drops the outer brackets, parses with tree-sitter and keeps each argument as a
piece of source text; `eval.bfcl.foreign_values` turns the pieces into values by declared type.
Its odd rules are kept: Java texts are cut by byte offsets as if they were character offsets, and
the parts of a Java expression are joined without the blanks between them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tree_sitter import Node, Parser

Arguments = dict[str | None, str]
"""Source text by name; under `None` an argument without a name."""

MAX_SOURCE_CHARACTERS = 20_000
"""Longer source is not parsed: what 4096 generated tokens give, and a gigabyte in the worst case,
since the parser takes quadratic memory on Java such as `A<A<A<`."""

_JAVA_QUOTED = ("string_literal", "character_literal")
_JAVA_WHOLE = ("identifier", "class_literal", "type_identifier", "method_invocation")


def decode_java_calls(text: str) -> Any:  # noqa: ANN401 - as lax as the official handler
    """Return `[{name: {argument: source text}}]` of the first call, or `{}` without any.

    Raises:
        ValueError: The text is no Java, or an argument is given twice.
        AttributeError, IndexError, RecursionError: The official code would raise.
    """
    source = _without_brackets(text)
    call = _find_java_call(_parse("java", source))
    if call is None:
        return {}
    text_of = _TextByByteOffset(source)
    name = text_of(_child(call, "name"))
    owner = call.child_by_field_name("object")
    full_name = name if owner is None else f"{text_of(owner)}.{name}"
    return [{full_name: _java_arguments(_child(call, "arguments"), text_of)}]


def decode_javascript_calls(text: str) -> Any:  # noqa: ANN401 - as lax as the official handler
    """Return `[{name: {argument: source text}}]` of the first call, or `{}` without any.

    Raises:
        ValueError: The text is no JavaScript, or an argument is given twice.
        IndexError: The official code would raise.
    """
    for call in _javascript_calls(_parse("javascript", _without_brackets(text))):
        arguments = _collect(_javascript_argument(node) for node in call.children[1].children)
        return [{_own_text(call.children[0]): arguments}]
    return {}


def _without_brackets(text: str) -> str:
    trimmed = text.strip("`\n ")
    opened = trimmed if trimmed.startswith("[") else f"[{trimmed}"
    closed = opened if opened.endswith("]") else f"{opened}]"
    return closed[1:-1]


@cache
def _parser(language: str) -> Parser:
    # Grammars are loaded on first use: Python categories need none.
    import tree_sitter_java
    import tree_sitter_javascript
    from tree_sitter import Language, Parser

    grammars = {"java": tree_sitter_java, "javascript": tree_sitter_javascript}
    return Parser(Language(grammars[language].language()))


def _parse(language: str, source: str) -> Node:
    if len(source) > MAX_SOURCE_CHARACTERS:
        raise ValueError(f"more than {MAX_SOURCE_CHARACTERS} characters")
    root = _parser(language).parse(source.encode()).root_node
    # A missing semicolon has an error too, but counts as `MISSING`, which the official code lets
    # pass.
    if root.has_error and any(node.is_error for node in _nodes(root)):
        raise ValueError(f"not {language}")
    return root


def _nodes(root: Node) -> Iterator[Node]:
    """Yield all nodes of a tree.

    The parser's own text of a tree, which the official code searches, is made by recursion in C,
    and ends the process where an opening bracket is repeated often enough.
    """
    cursor = root.walk()
    while True:
        if cursor.node is not None:
            yield cursor.node
        if cursor.goto_first_child():
            continue
        while not cursor.goto_next_sibling():
            if not cursor.goto_parent():
                return


def _child(node: Node, field: str) -> Node:
    child = node.child_by_field_name(field)
    if child is None:
        raise ValueError(f"no {field}")
    return child


def _collect(arguments: Iterator[tuple[str | None, str] | None]) -> Arguments:
    collected: Arguments = {}
    for argument in arguments:
        if argument is None:
            continue
        if argument[0] in collected:
            raise ValueError("an argument is given twice")
        collected[argument[0]] = argument[1]
    return collected


class _TextByByteOffset:
    """Cuts by byte offsets in the text; they differ from the characters' after a non-ASCII one."""

    def __init__(self, source: str) -> None:
        self._source = source

    def __call__(self, node: Node) -> str:
        return self._source[node.start_byte : node.end_byte]


def _find_java_call(node: Node) -> Node | None:
    if node.type == "method_invocation":
        return node
    for child in node.children:
        call = _find_java_call(child)
        if call is not None:
            return call
    return None


def _java_arguments(node: Node, text_of: Callable[[Node], str]) -> Arguments:
    def read(child: Node) -> tuple[str | None, str] | None:
        if child.type == "assignment_expression":
            return text_of(child.children[0]), _java_text(child.children[2], text_of, False)
        if child.type in ("identifier", "class_literal"):
            return None, _java_text(child, text_of, False)
        return None

    return _collect(read(child) for child in node.children)


def _java_text(node: Node | None, text_of: Callable[[Node], str], is_nested: bool) -> str:
    """Return an expression as the official code puts it together; only inner quotes stay."""
    if node is None:
        raise AttributeError("the official code reads a part that is not there")
    if node.type in _JAVA_QUOTED:
        return text_of(node) if is_nested else text_of(node)[1:-1]
    if node.type in _JAVA_WHOLE:
        return text_of(node)
    if node.type == "array_creation_expression":
        kind = _java_text(node.child_by_field_name("type"), text_of, True)
        return f"new {kind}[]{_java_text(node.child_by_field_name('value'), text_of, True)}"
    if node.type == "object_creation_expression":
        # The body of an anonymous class is lost, and with it the entries of `new HashMap() {{..}}`.
        kind = _java_text(node.child_by_field_name("type"), text_of, True)
        values = [
            _java_text(child, text_of, True)
            for child in _child(node, "arguments").children
            if child.type not in (",", "(", ")")
        ]
        return f"new {kind}({', '.join(values)})"
    if node.child_count:
        return "".join(_java_text(child, text_of, True) for child in node.children)
    return text_of(node)


def _javascript_calls(root: Node) -> Iterator[Node]:
    for statement in root.children:
        if statement.type == "expression_statement":
            yield from (node for node in statement.children if node.type == "call_expression")


def _javascript_argument(node: Node) -> tuple[str | None, str] | None:
    if node.type == "assignment_expression":
        value = _own_text(node.children[2])
        if value.startswith(("'", '"')) and value.endswith(value[0]):
            value = value[1:-1]
        return _own_text(node.children[0]), value
    if node.type in ("identifier", "true"):
        return None, _own_text(node)
    return None


def _own_text(node: Node) -> str:
    return (node.text or b"").decode()
