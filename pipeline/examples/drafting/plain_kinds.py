"""Guesses from plain columns: labels, pairs, numbers, sequences and free text."""

from __future__ import annotations

import re
from collections.abc import Sequence

from pipeline.examples.drafting.columns import Column, free_texts, named
from pipeline.examples.drafting.guess import (
    MAX_LABELS,
    Columns,
    Guess,
    is_clear_label,
    label_column,
    readable,
    set_labels,
)

PAIRS = (
    ("premise", "hypothesis"),
    ("sentence1", "sentence2"),
    ("sentence_1", "sentence_2"),
    ("text1", "text2"),
    ("text_1", "text_2"),
    ("text_a", "text_b"),
    ("sentence_a", "sentence_b"),
    ("question1", "question2"),
    ("question_1", "question_2"),
    ("claim", "evidence"),
    ("question", "passage"),
    ("query", "passage"),
    ("query", "document"),
    ("question", "sentence"),
    ("prompt", "response"),
)
MENTIONS = (
    ("e1", "e2"),
    ("head", "tail"),
    ("entity1", "entity2"),
    ("entity_1", "entity_2"),
    ("drug1", "drug2"),
    ("arg1", "arg2"),
    ("subject", "object"),
    ("subj", "obj"),
)
TEXT_WORDS = ("text", "sentence", "content", "review", "utterance", "query", "document", "body")
GENERATIONS = (
    ("question", "answer"),
    ("question", "response"),
    ("input", "target"),
    ("input", "output"),
    ("instruction", "output"),
    ("instruction", "response"),
    ("prompt", "completion"),
    ("prompt", "response"),
    ("source", "target"),
    ("document", "summary"),
    ("article", "summary"),
    ("article", "highlights"),
    ("dialogue", "summary"),
    ("text", "summary"),
    ("query", "response"),
    ("query", "answer"),
    ("query", "parse"),
)
_BASES = re.compile(r"[ACGTUNacgtun]{8,}")


def dna(columns: Columns, forced: bool) -> Guess | None:
    """A column of nucleotides and a label."""
    for column in columns.values():
        texts = column.texts
        num_fitting = sum(bool(_BASES.fullmatch(text)) for text in texts)
        if not texts or num_fitting < (0.8 if forced else 0.97) * len(texts):
            continue
        target = label_column(columns, without=[column.name], forced=True)
        if target is None:
            continue
        guess = Guess(
            "dna_classification",
            {"sequence": column.name},
            instruction="Does the sequence have the property?",
            reason=f"{column.name} holds nucleotides",
        )
        set_labels(guess, target)
        guess.doubt("instruction", "say which property the labels stand for")
        guess.doubt("settings", "reverse_complement: true if a strand means the same as its other")
        guess.settings["reverse_complement"] = False
        return guess
    return None


def relation(columns: Columns, forced: bool) -> Guess | None:
    """A text, two mentions in it, and a label."""
    pair = _pair(columns, MENTIONS)
    if pair is None:
        return None
    head, tail = pair
    texts = [c for c in free_texts(columns) if c.name not in {head.name, tail.name}]
    words = {name for column in (head, tail) for name in columns if name.startswith(column.name)}
    target = label_column(columns, without=[*words, *(c.name for c in texts)], forced=forced)
    if not texts or target is None:
        return None
    text = _best_text(texts)
    guess = Guess(
        "relation",
        {"text": text.name, "head": head.name, "tail": tail.name},
        instruction="How do the head and the tail relate in the text?",
        reason=f"two mentions, {head.name} and {tail.name}, and a label",
    )
    set_labels(guess, target)
    return guess


def regression(columns: Columns, forced: bool) -> Guess | None:
    """Texts and a number, which has fractions unless this kind was asked for."""
    texts = free_texts(columns)
    numbers = [column for column in columns.values() if _is_number(column, forced)]
    if not texts or not numbers:
        return None
    marked = named({c.name: c for c in numbers}, "score", "label", "rating", "similarity", "value")
    target = (marked or numbers)[0]
    pair = _pair(columns, PAIRS)
    first, second = pair or (_best_text(texts), None)
    if pair is None and len(texts) == 2 and not _named_text(texts):
        first, second = texts
    values = _numbers(target)
    has_fractions = any(not float(value).is_integer() for value in values)
    guess = Guess(
        "regression",
        {"text_a": first.name, **({"text_b": second.name} if second else {})},
        reason=f"{target.name} holds {'numbers with fractions' if has_fractions else 'numbers'}",
    )
    is_text = target.form in {"text", "json"}
    guess.fields["target"] = {"clean": target.name, "steps": ["float"]} if is_text else target.name
    set_range(guess, target.name, values)
    return guess


def set_range(guess: Guess, column: str, values: Sequence[float]) -> None:
    """Write the range of the values into settings and instruction of a regression."""
    low, high = min(values), max(values)
    guess.settings |= {"minimum": float(low), "maximum": float(high)}
    shown = f"{low:g} to {high:g}"
    guess.instruction = f"Give the {readable(column)} as a number from {shown}."
    guess.doubts["settings"] = [f"the rows range from {shown}; the scale itself may be wider"]


def multi_label(columns: Columns, forced: bool) -> Guess | None:
    """A text and a list of labels from a small vocabulary."""
    texts = free_texts(columns)
    for column in columns.values():
        if column.form != "list" or "." in column.name or not texts:
            continue
        if column.item_form not in {"class", "text", "int"} or column.counts is None:
            continue
        num_items = len(column.items())
        is_small = 2 <= len(column.counts) <= min(MAX_LABELS, max(3, 0.6 * num_items))
        longest = max((len(item) for item in column.items() if isinstance(item, str)), default=0)
        if not (column.item_form == "class" or (is_small and longest < 80)):
            continue
        text = _best_text(texts)
        guess = Guess(
            "multi_label",
            {"text": text.name},
            instruction=_every(column, text),
            reason=f"{column.name} lists labels",
        )
        set_labels(guess, column)
        guess.doubts.pop("fields", None)
        if all(isinstance(v, list) and len(v) == 1 for v in column.samples):
            guess.doubt("task", "every row read has one label; `classification` would do as well")
        return guess
    return None


def pair_classification(columns: Columns, forced: bool) -> Guess | None:
    """Two texts and a label."""
    texts = free_texts(columns)
    pair = _pair(columns, PAIRS)
    if pair is None and len(texts) == 2 and not _is_question_of(texts) and not _named_text(texts):
        pair = (texts[0], texts[1])
    if pair is None and forced and len(texts) >= 2:
        pair = (texts[0], texts[1])
    if pair is None:
        return None
    names = [column.name for column in (*pair, *texts)]
    target = label_column(columns, without=names, forced=forced)
    if target is None or (target.form == "int" and not is_clear_label(target) and not forced):
        return None
    first, second = pair
    guess = Guess(
        "pair_classification",
        {"text_a": first.name, "text_b": second.name},
        instruction=_pair_instruction(first, second, target),
        reason=f"two texts, {first.name} and {second.name}, and the label {target.name}",
    )
    set_labels(guess, target)
    others = [column.name for column in texts if column not in pair]
    if others:
        guess.doubt("fields", f"left out because they may tell the answer: {', '.join(others)}")
    return guess


def classification(columns: Columns, forced: bool) -> Guess | None:
    """A text, perhaps with a question, and a label."""
    texts = free_texts(columns)
    target = label_column(columns, without=[c.name for c in texts], forced=forced)
    if target is None or (not forced and not is_clear_label(target) and _answers(columns, target)):
        return None
    fields, doubt = _classified_text(columns, texts)
    if not fields:
        return None
    word = readable(target.name)
    shown = readable(str(fields["text"])) if isinstance(fields["text"], str) else "text"
    asks = word in {"label", "class", "target", "y"}
    guess = Guess(
        "classification",
        fields,
        instruction=f"Which label fits the {shown}?"
        if asks
        else f"What is the {word} of the {shown}?",
        reason=f"a text and the label {target.name}",
    )
    set_labels(guess, target)
    if doubt:
        guess.doubt("fields", doubt)
    return guess


def text(columns: Columns, forced: bool) -> Guess | None:
    """One text that follows from others."""
    texts = [
        c
        for c in columns.values()
        if c.form in {"text", "json"} and not c.is_identifier and c.num_null < 0.1 * c.num_rows
    ]
    by_name = {column.name: column for column in texts}
    for source, target in GENERATIONS:
        asked, answers = named(by_name, source)[:1], named(by_name, target)[:1]
        if asked and answers and asked != answers:
            inputs = [*_more_inputs(by_name, asked[0], answers[0]), asked[0]]
            return _generation(inputs, answers[0], f"{asked[0].name} and {answers[0].name}")
    if len(texts) < 2:
        return None
    texts = [*texts[:3], texts[-1]] if len(texts) > 4 else texts
    guess = _generation(texts[:-1], texts[-1], "texts, and nothing that looks like a label")
    guess.doubt(
        "fields",
        f"nothing tells what is asked and what is answered; {texts[-1].name} was chosen as the "
        "target because it comes last",
    )
    return guess


def _generation(inputs: Sequence[Column], target: Column, reason: str) -> Guess:
    shown = {_field_name(column, index): column.name for index, column in enumerate(inputs)}
    guess = Guess(
        "text",
        {**shown, "target": target.name},
        instruction=f"Give the {readable(target.name)}.",
        reason=reason,
    )
    if target.mean_length < 25:
        guess.metrics = ["exact_match"]
    else:
        guess.doubt(
            "metrics",
            "rouge_l compares wording; [exact_match] suits short answers, and {clean: ...} takes "
            "the final answer out of a longer text",
        )
        guess.metrics = ["rouge_l", "exact_match"]
    return guess


def _field_name(column: Column, index: int) -> str:
    name = re.sub(r"[^a-z0-9]+", "_", readable(column.name)).strip("_")[:40]
    return name if re.fullmatch(r"[a-z][a-z0-9_]*", name) and name != "target" else f"input_{index}"


def _more_inputs(columns: Columns, asked: Column, answer: Column) -> list[Column]:
    others = named(columns, "context", "passage", "instruction", "input", "system")
    return [column for column in others if column not in (asked, answer)][:2]


def _pair(columns: Columns, pairs: Sequence[tuple[str, str]]) -> tuple[Column, Column] | None:
    by_word = {column.word: column for column in columns.values() if column.form == "text"}
    for first, second in pairs:
        if first in by_word and second in by_word:
            return by_word[first], by_word[second]
    return None


def _pair_instruction(first: Column, second: Column, target: Column) -> str:
    if {first.word, second.word} == {"premise", "hypothesis"}:
        return "Does the premise entail the hypothesis?"
    word = readable(target.name)
    if word in {"label", "class", "target", "gold label", "value", "y"}:
        return f"Which label fits the {readable(first.name)} and the {readable(second.name)}?"
    return f"What is the {word} of the {readable(first.name)} and the {readable(second.name)}?"


def _classified_text(columns: Columns, texts: list[Column]) -> tuple[dict[str, object], str]:
    """Return the inputs of a classification, and what is doubtful about them."""
    lists = [
        column
        for column in columns.values()
        if column.form == "list" and column.item_form == "text" and column.num_distinct > 50
    ]
    question = next((c for c in texts if c.word in {"question", "query"}), None)
    passages = [c for c in lists if c.word in {"contexts", "context", "sentences", "passages"}]
    if question is not None and passages:
        body: dict[str, object] = {"text": {"join": passages[0].name, "sep": "\n"}}
        return body | {"question": question.name}, ""
    if not texts:
        return ({"text": {"join": lists[0].name, "sep": " "}}, "") if lists else ({}, "")
    best = _best_text(texts)
    others = [column.name for column in texts if column is not best]
    doubt = f"other texts that could be inputs: {', '.join(others)}" if others else ""
    return {"text": best.name}, doubt


def _answers(columns: Columns, label: Column) -> bool:
    """Return whether a column of few values is rather not the label, but a text or number is."""
    if all(text.strip().lstrip("-").isdecimal() for text in label.texts) and label.num_distinct > 2:
        return label.form == "text"
    texts = {column.name: column for column in free_texts(columns)}
    return any(
        named(texts, asked) and label not in named(columns, answer) and named(texts, answer)
        for asked, answer in GENERATIONS
    )


def _named_text(texts: Sequence[Column]) -> bool:
    return any(column.word == "text" for column in texts)


def _best_text(texts: Sequence[Column]) -> Column:
    found = named({column.name: column for column in texts}, *TEXT_WORDS)
    return found[0] if found else texts[0]


def _is_question_of(texts: Sequence[Column]) -> bool:
    told = ("answer", "response", "output", "reason", "explanation", "rationale")
    return any(column.word.endswith(told) for column in texts)


def _is_number(column: Column, forced: bool) -> bool:
    if column.is_identifier or column.num_distinct < 2:
        return False
    if column.form == "float":
        return True
    values = _numbers(column)
    if len(values) < len(column.samples) or not values:
        return False
    is_whole = all(value == int(value) for value in values)
    return forced or (column.form == "text" and not is_whole)


def _numbers(column: Column) -> list[float]:
    found: list[float] = []
    for value in column.samples:
        try:
            found.append(float(value))  # type: ignore[arg-type]
        except (TypeError, ValueError):
            continue
    return found


def _every(column: Column, text: Column) -> str:
    return f"Name every {_singular(readable(column.name))} of the {readable(text.name)}."


def _singular(word: str) -> str:
    return word[:-1] if word.endswith("s") and not word.endswith("ss") else word
