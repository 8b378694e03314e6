"""Unusual spellings of BFCL answers, in all formats; used by `make_bfcl_golden.py`.

Where the mutations there change what is said, these mostly change how: a value as an expression,
a number at the edge of its type, a call within other text. The forms are in `bfcl_spellings.txt`.
"""

from __future__ import annotations

import json
import random
import re
import unicodedata
from pathlib import Path
from typing import Any

Value = Any
Calls = list[list[Any]]
"""Name and argument dict of each call."""

LONG_DIGITS = "9" * 4301
"""One digit more than Python reads into an integer."""
BLOCK_FORMATS = ("hermes", "granite")
"""Formats with a block for each call; the others write one list."""
ASSIGNMENTS = ("=", " = ", "= ", " =", "=\n", ": ", ":", "==", "+=", "=>", "->", " ")
_CONTROLS = str.maketrans("⏎⇥␍␀␌␚", "\n\t\r\0\f\x1a")


def _load_forms() -> dict[str, list[str]]:
    forms: dict[str, list[str]] = {}
    name = None
    text = Path(__file__).with_suffix(".txt").read_text(encoding="utf-8")
    for line in text.split("\n"):
        header = re.fullmatch("== (.*) ==", line)
        if header:
            name = header.group(1)
            forms[name] = []
        elif line and name:
            plain = line.translate(_CONTROLS)
            plain = plain.replace("«nines»", LONG_DIGITS).replace("«fewer nines»", LONG_DIGITS[1:])
            plain = re.sub("⟨([0-9a-f]+)⟩", lambda code: chr(int(code.group(1), 16)), plain)
            forms[name].append(plain)
    return forms


FORMS = _load_forms()


def respell(rng: random.Random, calls: Calls, format_name: str, language: str = "python") -> str:
    """Return one output with one or two unusual spellings.

    Args:
        rng: Source of chance.
        calls: Names and arguments: values, or source texts in Java and JavaScript.
        format_name: How the output is written; once in a while another one is used.
        language: Of the category.
    """
    written = rng.choice(["python_call", *_JSON_FORMATS]) if rng.random() < 0.04 else format_name
    if written != "python_call":
        if language != "python":
            calls = [[name, _foreign_values(rng, arguments, language)] for name, arguments in calls]
        return _json_output(rng, calls, written)
    if language == "python":
        return _python_output(rng, calls)
    ((name, arguments),) = calls
    return _foreign_output(rng, name, arguments, language)


_JSON_FORMATS = ("hermes", "granite", "json_list", "xlam_json")


def _fill(form: str, **parts: str) -> str:
    return re.sub(r"\{([vsnat])\}", lambda part: parts.get(part.group(1), part.group()), form)


def _python_output(rng: random.Random, calls: Calls) -> str:
    where = rng.choice(["value", "value", "value", "call", "text", "text", "characters", "both"])
    index = rng.randrange(len(calls)) if calls else -1
    texts = []
    for number, (name, arguments) in enumerate(calls):
        is_odd = number == index
        odd_name = rng.choice(list(arguments)) if is_odd and arguments else None
        parts = [
            f"{key}={_python_value(rng, item)}"
            if key == odd_name and where in ("value", "both")
            else f"{key}={item!r}"
            for key, item in arguments.items()
        ]
        if is_odd and rng.random() < 0.1 and parts:
            parts.append(rng.choice(parts))
        form = rng.choice(FORMS["python call"]) if is_odd and where == "call" else "{n}({a})"
        texts.append(_fill(form, n=name, a=", ".join(parts)))
    around = rng.choice(FORMS["python output"]) if where in ("text", "both") else "[{t}]"
    text = _fill(around, t=", ".join(texts))
    return _other_characters(rng, text) if where == "characters" else text


def _python_value(rng: random.Random, value: Value) -> str:
    """Return Python source that is, or nearly is, the value."""
    general = FORMS["any python value"]
    own = general
    if isinstance(value, str):
        own = FORMS["text"]
    elif isinstance(value, bool):
        own = [*FORMS["number"], str(value).lower(), str(int(value)), str(value).upper()]
    elif isinstance(value, int | float):
        own = FORMS["number"]
    elif isinstance(value, list | dict):
        own = FORMS[type(value).__name__]
    form = rng.choice(own if rng.random() < 0.7 else general)
    return _fill(form, v=_source(rng, value), s=str(value).replace('"', "'"))


def _source(rng: random.Random, value: Value) -> str:
    """Return Python source in which one part at any depth may be spelt in another way."""
    if isinstance(value, list) and value and rng.random() < 0.5:
        parts = [repr(item) for item in value]
        index = rng.randrange(len(value))
        parts[index] = _python_value(rng, value[index])
        return f"[{', '.join(parts)}]"
    if isinstance(value, dict) and value and rng.random() < 0.5:
        key = rng.choice(list(value))
        parts = [f"{name!r}: {item!r}" for name, item in value.items() if name != key]
        return "{" + ", ".join([*parts, f"{key!r}: {_python_value(rng, value[key])}"]) + "}"
    return repr(value)


def _other_characters(rng: random.Random, text: str) -> str:
    """Return the text with look-alikes, another normal form, another case or a slip."""
    place = rng.randrange(len(text) + 1)
    start, end = text[:place], text[place:]
    alike = rng.choice(
        [
            {"a": "\u0430", "e": "\u0435"},
            {chr(code): chr(code + 0xFEE0) for code in range(ord("0"), ord("9") + 1)},
            {chr(code): chr(code + 0xFEE0) for code in range(ord("a"), ord("z") + 1)},
            {"(": "\uff08", ")": "\uff09"},
            {",": "\uff0c"},
            {"-": "\u2212"},
            {"-": "\u2013"},
            {" ": "\u00a0"},
            {"'": '"'},
            {"'": "`"},
            {"'": "\u2019"},
            {"i": "\u0131", "I": "\u0130"},
            {"s": "\u017f"},
            {"ss": "ß"},
        ]
    )
    changed = text
    for old, new in alike.items():
        changed = changed.replace(old, new)
    return rng.choice(
        [
            changed,
            changed,
            changed,
            unicodedata.normalize(rng.choice(["NFD", "NFKC"]), text),
            rng.choice([text.upper(), text.title(), text.swapcase(), text.casefold()]),
            start + rng.choice("\u200b\u00ad\u0301\u202e\ufeff\u2028\x0b\x1c\x85😀") + end,
            start + rng.choice(["\\n", "\\u0041", "\\", "\\x", "\\N{DASH}", "\\\n"]) + end,
            start + end[1:],
            start + end[:2] + end,
        ]
    )


def _json_output(rng: random.Random, calls: Calls, format_name: str) -> str:
    where = rng.choice(["value", "value", "call", "text", "text", "both", "characters"])
    index = rng.randrange(len(calls)) if calls else -1
    plain = FORMS["json call"][0]
    objects = []
    for number, (name, arguments) in enumerate(calls):
        is_odd = number == index
        is_ascii = rng.random() < 0.5
        parts = {key: json.dumps(item, ensure_ascii=is_ascii) for key, item in arguments.items()}
        if is_odd and where in ("value", "both") and parts:
            key = rng.choice(list(parts))
            parts[key] = _fill(rng.choice(FORMS["json value"]), v=parts[key])
        pairs = [f"{json.dumps(key)}: {item}" for key, item in parts.items()]
        if is_odd and rng.random() < 0.1 and pairs:
            pairs.append(rng.choice(pairs))
        form = rng.choice(FORMS["json call"]) if is_odd and where == "call" else plain
        objects.append(_fill(form, n=json.dumps(name), a="{" + ", ".join(pairs) + "}"))
    forms = FORMS[format_name]
    is_odd = where in ("text", "both")
    if format_name in BLOCK_FORMATS:
        blocks = [
            _fill(rng.choice(forms) if is_odd and number == index else forms[0], t=item)
            for number, item in enumerate(objects)
        ]
        text = rng.choice(["\n", "", " "]).join(blocks)
    else:
        joined = rng.choice([", ", ",", ",\n"]).join(objects)
        text = _fill(rng.choice(forms) if is_odd else forms[0], t=joined)
    return _other_characters(rng, text) if where == "characters" else text


def _foreign_values(rng: random.Random, arguments: dict[str, str], language: str) -> dict[str, str]:
    """Spell one value of Java or JavaScript source in an unusual way."""
    if not arguments:
        return arguments
    key = rng.choice(list(arguments))
    form = rng.choice(FORMS[f"{language} value"])
    bare = arguments[key].strip("\"'`")
    return {**arguments, key: _fill(form, v=arguments[key], s=bare)}


def _foreign_output(rng: random.Random, name: str, arguments: dict[str, str], language: str) -> str:
    where = rng.choice(["value", "value", "value", "call", "both", "characters"])
    if where in ("value", "both"):
        arguments = _foreign_values(rng, arguments, language)
    sign = rng.choice(ASSIGNMENTS) if where in ("call", "both") and rng.random() < 0.3 else "="
    between = rng.choice([", ", ",", ",\n    "])
    joined = between.join(f"{key}{sign}{item}" for key, item in arguments.items())
    form = rng.choice(FORMS["foreign call"] if where in ("call", "both") else ["[{n}({a})]"])
    text = _fill(form, n=name, a=joined)
    return _other_characters(rng, text) if where == "characters" else text
