"""A small writer of HTML in which text can never become an element.

Children and attribute values are escaped unless they are `Html`, which only this module makes.
There is no way to write an inline style or an event handler: the page's content policy forbids
both, and so does `element`.
"""

from __future__ import annotations

import html

from eval.leaderboard.text import harmless

_VOID = frozenset({"meta", "input", "line", "rect", "circle", "polyline", "wbr"})
"""Elements without content; those of SVG end themselves only by the slash."""

_UNSAFE_ATTRIBUTES = ("on", "style", "srcdoc", "xlink")

Attribute = str | int | float | bool | None


class Html(str):
    """Text that is markup already."""

    __slots__ = ()


def escaped(text: str) -> Html:
    """Return `text` as HTML that shows it, control characters made visible."""
    return Html(html.escape(harmless(text), quote=True))


def joined(*children: str) -> Html:
    """Return the children one after the other, escaped where they are no markup."""
    return Html("".join(child if isinstance(child, Html) else escaped(child) for child in children))


def element(name: str, /, *children: str, **attributes: Attribute) -> Html:
    """Return `<name ...>children</name>`.

    Args:
        name: Of the element.
        children: Markup or text; text is escaped.
        attributes: `class_` stands for `class`, `aria_label` for `aria-label`; `True` writes the
            bare name; `None` and `False` leave the attribute out.

    Raises:
        ValueError: An attribute could run code or set a style, or a link leaves the page.
    """
    written = "".join(_attribute(key, value) for key, value in attributes.items())
    if name in _VOID:
        return Html(f"<{name}{written}/>")
    return Html(f"<{name}{written}>{joined(*children)}</{name}>")


def _attribute(key: str, value: Attribute) -> str:
    name = key.rstrip("_").replace("_", "-")
    if name.startswith(_UNSAFE_ATTRIBUTES):
        raise ValueError(f"the attribute {name!r} is not allowed")
    if name == "href" and not str(value).startswith("#"):
        raise ValueError(f"only links inside the page are allowed, got {value!r}")
    if value is None or value is False:
        return ""
    if value is True:
        return f" {name}"
    shown = f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)
    return f' {name}="{escaped(shown)}"'
