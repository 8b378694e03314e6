"""Guesses from lists and maps: tagged words, choices, passages, talks, function calls."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from pipeline.errors import PipelineError
from pipeline.examples.drafting.columns import Column, free_texts, holds_json, named
from pipeline.examples.drafting.guess import Columns, Guess
from pipeline.functions.calls import calls_from_json, specs_from_json
from pipeline.types import Json

TAG_WORDS = ("ner_tags", "tags", "labels", "ner", "pos_tags", "upos", "pos", "chunk_tags", "deprel")
TOKEN_WORDS = ("tokens", "words", "token", "forms")
QUESTION_WORDS = (
    "question",
    "query",
    "goal",
    "question_stem",
    "stem",
    "ctx",
    "premise",
    "prompt",
    "problem",
    "sentence",
    "context",
    "text",
    "input",
)
ANSWER_WORDS = ("label", "answer", "answerkey", "answer_idx", "gold", "correct", "target", "cop")
CHOICE_WORDS = ("choices", "options", "candidates", "endings", "answers", "references", "choice")
CALL_WORDS = (
    "calls",
    "tool_calls",
    "answers",
    "calling",
    "output",
    "apis",
    "ground_truth",
    "answer",
)
PAIR_STEMS = frozenset({"sentence", "text", "question", "premise", "s", "q", "e", "entity", "drug"})
ROLES = {
    "system": "system",
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "assistant": "assistant",
    "ai": "assistant",
    "bot": "assistant",
    "model": "assistant",
    "chatgpt": "assistant",
    "function_call": "assistant",
    "function": "tool",
    "tool": "tool",
    "observation": "tool",
    "api": "tool",
}
_MEMBER = re.compile(r"(.*?)[_ ]?(\d{1,2}|[A-Ea-e])")


def token_classification(columns: Columns, forced: bool) -> Guess | None:
    """Words and one tag per word."""
    lists = {c.name: c for c in columns.values() if c.form == "list"}
    words = [c for c in named(lists, *TOKEN_WORDS) if c.item_form == "text"]
    if not words:
        return None
    tokens = words[0]
    others = {name: c for name, c in lists.items() if c is not tokens and _parallel(tokens, c)}
    tags = next(iter([*named(others, *TAG_WORDS), *others.values()]), None)
    if tags is None or (tags.class_names is None and tags.counts is None):
        return None
    guess = Guess(
        "token_classification",
        {"tokens": tokens.name, "target": tags.name},
        reason=f"{tokens.name} and {tags.name} are lists of the same length",
        label_path=tags.name,
        label_names=tags.class_names,
    )
    names = tags.class_names or tuple(json.loads(text) for text in tags.counts or ())
    name_tags(guess, [str(name) for name in names])
    if tags.item_form == "int":
        guess.doubt(
            "labels",
            "if these are BIO tags, name them so (O, B-Thing, I-Thing), take out `settings`, and "
            f"write the target as {{spans: {tags.name}, tokens: {tokens.name}}}",
        )
    return guess


def name_tags(guess: Guess, names: Sequence[str]) -> None:
    """Make a guess of tagged words fit its tags: mentions of types, or one tag per word."""
    tokens, tags = guess.fields["tokens"], guess.label_path
    guess.settings.pop("scheme", None)
    if is_bio(names):
        target: dict[str, Json] = {"spans": tags, "tokens": tokens}
        if not any(name.startswith(("B-", "I-")) for name in names):
            target["type"] = "mention"
            guess.doubt("fields", "the tags name no type; write what is marked under `type:`")
        guess.fields["target"] = target
        guess.instruction = "List every mention with its type."
    else:
        guess.settings["scheme"] = "plain"
        guess.instruction = "Tag every word."
    guess.doubts["instruction"] = ["say what is looked for"]


def is_bio(names: Sequence[str]) -> bool:
    """Return whether tags mark mentions: `O` beside `B` and `I`, or beside `B-...`."""
    kinds = {name.partition("-")[0] for name in names}
    return bool(kinds & {"B", "I"}) and kinds <= {"B", "I", "O", "E", "S", "L", "U"}


def _parallel(tokens: Column, other: Column) -> bool:
    if other.item_form not in {"class", "text", "int"}:
        return False
    pairs = list(zip(tokens.samples, other.samples, strict=False))
    same = sum(isinstance(a, list) and isinstance(b, list) and len(a) == len(b) for a, b in pairs)
    return bool(pairs) and same >= 0.98 * len(pairs)


def extractive_qa(columns: Columns, forced: bool) -> Guess | None:
    """A passage, a question and answers that stand in the passage."""
    context = next(iter(named(columns, "context", "passage", "paragraph", "document")), None)
    question = next((c for c in named(columns, "question", "query") if c.form == "text"), None)
    answers = [c for c in named(columns, "answers", "answer") if c.form == "struct"]
    members = [columns[f"{c.name}.text"] for c in answers if f"{c.name}.text" in columns]
    plain = [c for c in named(columns, "answers", "answer") if c.form in {"list", "text"}]
    target = next(iter([*members, *plain]), None)
    if context is None or question is None or target is None or context.form != "text":
        return None
    if not _mostly_inside(target, context) and not forced:
        return None
    guess = Guess(
        "extractive_qa",
        {"context": context.name, "question": question.name, "target": target.name},
        instruction="Answer with words from the context.",
        truncate={"input": "context", "side": "right"},
        reason=f"the texts of {target.name} stand in {context.name}",
    )
    empty = sum(value == [] for value in target.samples)
    if empty:
        guess.doubt("fields", f"{empty} of {len(target.samples)} rows have no answer: unanswerable")
    return guess


def _mostly_inside(answers: Column, context: Column) -> bool:
    pairs = list(zip(answers.samples, context.samples, strict=False))
    inside = 0
    for value, passage in pairs:
        texts = value if isinstance(value, list) else [value]
        inside += isinstance(passage, str) and all(
            isinstance(text, str) and text in passage for text in texts
        )
    return bool(pairs) and inside >= 0.8 * len(pairs)


def multiple_choice(columns: Columns, forced: bool) -> Guess | None:
    """A question, options, and which of them is right."""
    found = _choices(columns)
    if found is None:
        return None
    value, options, numbered = found
    used = {
        name for name in columns if name == value or (isinstance(value, list) and name in value)
    }
    rest = {name: c for name, c in columns.items() if name not in used}
    target = next(
        (t for c in _answer_columns(rest) if (t := _position(c, options, value, numbered))), None
    )
    texts = {c.name: c for c in rest.values() if c.form == "text" and not c.is_identifier}
    questions = named(texts, *QUESTION_WORDS) or free_texts(rest)
    if target is None or not questions:
        return None
    answer, expression, doubt = target
    questions = [c for c in questions if c is not answer]
    if not questions:
        return None
    question = questions[0]
    guess = Guess(
        "multiple_choice",
        {"question": question.name, "choices": value, "target": expression},
        instruction="Which option is right?",
        reason=f"options in {value if isinstance(value, str) else ', '.join(value)}",
    )
    context = next(
        (c for c in named(texts, "context", "passage", "article") if c is not question), None
    )
    if context is not None and context is not answer:
        guess.fields = {"context": context.name, **guess.fields}
    if doubt:
        guess.doubt("fields", doubt)
    return guess


def _choices(columns: Columns) -> tuple[str | list[str], list[list[str]], list[str]] | None:
    """Return where the options are, those of the sampled rows, and the column of their letters."""
    lists = {c.name: c for c in columns.values() if c.form == "list" and c.item_form == "text"}
    for column in named(lists, *CHOICE_WORDS, "text"):
        owner, _, member = column.name.rpartition(".")
        if member == "text" and owner.strip('"').lower() not in CHOICE_WORDS:
            continue
        rows = [[str(item) for item in v] for v in column.samples if isinstance(v, list)]
        if rows and all(len(row) >= 2 for row in rows) and sum(map(len, rows)) > 2 * len(rows) - 1:
            labels = f"{owner}.label" if owner else ""
            return column.name, rows, [labels] if labels in columns else []
    families: dict[str, list[Column]] = {}
    for column in columns.values():
        match = _MEMBER.fullmatch(column.name)
        if match and column.form in {"text", "mixed"} and "." not in column.name:
            families.setdefault(match[1].lower(), []).append(column)
    for stem, members in families.items():
        if len(members) >= 2 and stem not in PAIR_STEMS:
            rows = [list(map(str, row)) for row in zip(*(m.samples for m in members), strict=False)]
            return [member.name for member in members], rows, []
    return None


def _answer_columns(columns: Columns) -> list[Column]:
    found = named(columns, *ANSWER_WORDS)
    marked = [
        c for c in columns.values() if any(w in c.word for w in ("correct", "label", "answer"))
    ]
    return [c for c in [*found, *marked] if c.form in {"class", "int", "text", "mixed"}]


def _position(
    column: Column, options: list[list[str]], value: str | list[str], numbered: list[str]
) -> tuple[Column, Any, str] | None:
    """Return the answer column and an expression for the position, if it can be one."""
    answers = [sample for sample in column.samples if sample not in (-1, "-1", "")]
    if not answers:
        return None
    if all(isinstance(a, int) and not isinstance(a, bool) for a in answers):
        return _number(column, [int(str(a)) for a in answers], options)
    texts = [str(a) for a in answers]
    if numbered and all(len(text) <= 3 for text in texts):
        return column, {"find": column.name, "in": numbered[0], "else": "skip"}, ""
    if all(re.fullmatch(r"[A-Z]", text) for text in texts):
        letters = [chr(ord("A") + i) for i in range(max(map(len, options)))]
        listed: list[Json] = [{"const": letter} for letter in letters]
        return column, {"find": column.name, "in": listed, "else": "skip"}, ""
    if all(text.isdecimal() for text in texts):
        found = _number(column, [int(text) for text in texts], options)
        steps: list[Json] = (
            ["int"] if found is None or found[1] == column.name else ["int", {"add": -1}]
        )
        return found and (column, {"clean": column.name, "steps": steps}, found[2])
    inside = sum(text in row for text, row in zip(texts, options, strict=False))
    if inside >= 0.9 * len(texts):
        return column, {"find": column.name, "in": value, "else": "skip"}, ""
    return None


def _number(
    column: Column, answers: list[int], options: list[list[str]]
) -> tuple[Column, Any, str] | None:
    most = max(map(len, options))
    if min(answers) >= 1 and max(answers) == most:
        doubt = f"{column.name} counts from 1 here, so 1 is taken off"
        return column, {"clean": column.name, "steps": [{"add": -1}]}, doubt
    if min(answers) >= 0 and max(answers) < most:
        return column, column.name, ""
    return None


def chat(columns: Columns, forced: bool) -> Guess | None:
    """A list of turns with a speaker and a text."""
    for column in columns.values():
        turns = [turn for turn in column.items() if isinstance(turn, dict)]
        if column.form != "structs" or not turns:
            continue
        role = next((k for k in ("role", "from", "speaker") if all(k in t for t in turns)), None)
        words = ("content", "value", "text", "utterance", "message")
        content = next((k for k in words if _share(turns, k) >= 0.5), None)
        if role is None or content is None:
            continue
        spoken = sorted({str(turn[role]) for turn in turns})
        names = speakers(spoken)
        if "assistant" not in names.values():
            continue
        guess = _talk(column, role, content, names)
        if _share(turns, content) < 1:
            guess.fields["messages"]["where"] = {"of": f"item.{content}", "truthy": True}
            guess.doubt("fields", f"turns without {content} are left out")
        return guess
    return None


def speakers(spoken: Sequence[str]) -> dict[str, str]:
    """Return the role of each speaker; a system that answers a user is the assistant."""
    names = {name: ROLES.get(name.lower(), "user") for name in spoken}
    if set(names.values()) == {"system", "user"} and len(names) == 2:
        names = {name: "assistant" if r == "system" else r for name, r in names.items()}
    return names


def _share(turns: Sequence[dict[str, Json]], key: str) -> float:
    return sum(isinstance(turn.get(key), str) for turn in turns) / len(turns)


def _talk(column: Column, role: str, content: str, names: dict[str, str]) -> Guess:
    answering = [name for name, role_of in names.items() if role_of == "assistant"]
    record: dict[str, Json] = {
        "role": {"map": f"item.{role}", "to": dict(names)},
        "content": f"item.{content}",
    }
    said: list[Json] = [
        {"of": f"turn.{role}", "in": list(answering)},
        {"of": f"turn.{content}", "truthy": True},
    ]
    guess = Guess(
        "chat",
        {
            "messages": {"each": "before", "do": {"record": record}},
            "target": f"turn.{content}",
        },
        rows=[
            {"explode": column.name, "as": "turn", "history": "before"},
            {"where": {"all": said}},
        ],
        truncate={"input": "messages", "side": "left"},
        reason=f"{column.name} lists turns with {role} and {content}",
    )
    guess.doubt("rows", "every turn of the assistant becomes an example, with the turns before it")
    unknown = [name for name in names if name.lower() not in ROLES]
    if unknown:
        guess.doubt("fields", f"taken for the user: {', '.join(unknown)}")
    return guess


def function_calling(columns: Columns, forced: bool) -> Guess | None:
    """A request, functions and the calls that answer it."""
    likely = named(columns, "tools", "functions", "function", "apis", "api_list", "tool")
    rest = [c for c in columns.values() if c not in likely and c not in named(columns, *CALL_WORDS)]
    specs = next((c for c in [*likely, *rest] if _reads(c, specs_from_json)), None)
    calls = next((c for c in _call_columns(columns, specs) if _reads(c, calls_from_json)), None)
    if calls is None:
        return None
    query = next(
        (
            c
            for c in named(columns, "query", "question", "input", "instruction", "prompt", "text")
            if c.form in {"text", "structs"} and c is not calls and c is not specs
        ),
        None,
    )
    if query is None:
        return None
    guess = Guess(
        "function_calling",
        {"query": _query(query), "functions": _called("function_specs", specs)},
        settings={"granular": "calls"},
        reason=f"{calls.name} holds function calls",
    )
    guess.fields["target"] = _called("function_calls", calls)
    if specs is None:
        guess.fields["functions"] = {"const": []}
        guess.doubt(
            "fields",
            "no column lists the functions that may be called; a library in a file beside the data "
            "is read with `rows: [{lookup: ...}]`",
        )
    return guess


def _query(column: Column) -> Json:
    if column.form == "text":
        return column.name
    record: dict[str, Json] = {"role": "item.role", "content": "item.content"}
    roles = {str(turn.get("role")) for turn in column.items() if isinstance(turn, dict)}
    if not roles <= {"system", "user", "assistant", "tool"}:
        names: dict[str, Json] = {r: ROLES.get(r.lower(), "assistant") for r in sorted(roles)}
        record["role"] = {"map": "item.role", "to": names}
    return {"each": column.name, "do": {"record": record}}


def _called(function: str, column: Column | None) -> Json:
    if column is None:
        return None
    of: Json = {"json": column.name} if _is_json(column) else column.name
    return {"function": function, "of": of}


def _is_json(column: Column) -> bool:
    return column.form == "json" or any(isinstance(value, str) for value in column.samples)


def _call_columns(columns: Columns, specs: Column | None) -> list[Column]:
    likely = named(columns, *CALL_WORDS)
    rest = [c for c in columns.values() if c not in likely]
    return [c for c in [*likely, *rest] if c is not specs and c.form in {"structs", "json"}]


def _reads(column: Column, read: Any) -> bool:  # noqa: ANN401 - a reader of calls or specs
    """Return whether most values of a column are what `read` reads."""
    if column.form not in {"structs", "json"}:
        return False
    values = column.samples[:100]
    num_read = 0
    for value in values:
        if isinstance(value, str) and not holds_json(value):
            continue
        try:
            num_read += bool(read(json.loads(value) if isinstance(value, str) else value))
        except (PipelineError, ValueError, TypeError):
            continue
    return bool(values) and num_read >= 0.8 * len(values)


def kb_relation(columns: Columns, forced: bool) -> Guess | None:
    """Passages, entities and relations between them, in the layout of BigBIO."""
    parts = [columns.get(name) for name in ("passages", "entities", "relations")]
    if any(part is None or part.form != "structs" for part in parts):
        return None
    entities = next(item for item in columns["entities"].items() if isinstance(item, dict))
    relations = next(item for item in columns["relations"].items() if isinstance(item, dict))
    if not ({"id", "type", "text"} <= set(entities) and {"arg1_id", "arg2_id"} <= set(relations)):
        return None
    guess = Guess(
        "relation",
        {
            "text": {"join": {"each": "passages", "do": "item.text[0]"}, "sep": "\n"},
            "head": "head.text[0]",
            "tail": "tail.text[0]",
            "target": "relation",
        },
        instruction="How do the head and the tail relate in the text?",
        rows=[{"pairs": {"entities": "entities", "relations": "relations"}}],
        reason="entities and the relations between them",
        label_path="relations[*].type",
    )
    guess.doubt(
        "rows",
        "pairs without a relation are left out; `none: none` makes rows of them, with that label",
    )
    return guess


def records(columns: Columns, forced: bool) -> Guess | None:
    """Lists or maps, and something that follows from them."""
    structured = [
        c for c in columns.values() if c.form in {"structs", "struct", "json"} and "." not in c.name
    ]
    targets = [
        c
        for c in columns.values()
        if c not in structured and c.form in {"list", "text"} and not c.is_identifier
    ]
    asked = [c for c in targets if c.form == "text" and c.word in QUESTION_WORDS]
    targets = [c for c in targets if c not in asked and "." not in c.name]
    if not structured or not targets:
        return None
    guess = Guess(
        "records",
        {
            "records": structured[0].name,
            **({"query": asked[0].name} if asked else {}),
            "target": targets[-1].name,
        },
        instruction=f"Give the {targets[-1].word} for the records.",
        reason=f"{structured[0].name} holds records",
    )
    guess.doubt(
        "fields", f"nothing tells what is answered; {targets[-1].name} was chosen as target"
    )
    return guess
