"""Metrics of free text: exact match, token F1 of short answers, ROUGE-L of longer ones."""

from __future__ import annotations

import re
import string
from collections import Counter
from typing import cast

from eval.metrics.calls import canonical
from eval.metrics.metric import Metric, f1_of_counts
from pipeline.types import Json, TaskSpec

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)
_ROUGE_BREAKS = re.compile(r"[^a-z0-9]+")


def _exact_match(parsed: Json, target: Json, _spec: TaskSpec) -> float:
    if not isinstance(parsed, str):
        return float(canonical(parsed) == canonical(target))
    return float(parsed.strip() in {gold.strip() for gold in _golds(target)})


def _golds(target: Json) -> list[str]:
    """Return all accepted answers; an empty list of answers accepts the empty answer."""
    if isinstance(target, list):
        return cast("list[str]", target) or [""]
    return [cast("str", target)]


def answer_words(text: str) -> list[str]:
    """Return lower-case words without punctuation and articles, as SQuAD's evaluation does."""
    plain = text.lower().translate(_PUNCTUATION)
    return _ARTICLES.sub(" ", plain).split()


def _answer_f1(parsed: Json, target: Json, _spec: TaskSpec) -> float:
    predicted = answer_words(cast("str", parsed))
    return max(word_f1(predicted, answer_words(gold)) for gold in _golds(target))


def word_f1(predicted: list[str], gold: list[str]) -> float:
    """Return F1 of two multisets of words."""
    num_hits = sum((Counter(predicted) & Counter(gold)).values())
    return f1_of_counts(num_hits, len(predicted), len(gold))


def _list_counts(parsed: Json, target: Json) -> tuple[int, int, int]:
    """Return (hits, answered, asked for) of a list of answers; each answer is hit once."""
    answered = list_items(cast("str", parsed)) if parsed is not None else [()]
    wanted = list_items(", ".join(_golds(target)))
    num_hits = sum((Counter(answered) & Counter(wanted)).values())
    return num_hits, len(answered), len(wanted)


def list_items(text: str) -> list[tuple[str, ...]]:
    """Return the parts between commas as words, each part once."""
    parts = (tuple(answer_words(part)) for part in text.split(","))
    return list(dict.fromkeys(part for part in parts if part and part != ("none",)))


def _list_f1(parsed: Json, target: Json, _spec: TaskSpec) -> float:
    return f1_of_counts(*_list_counts(parsed, target))


def rouge_words(text: str) -> list[str]:
    """Return the lower-case runs of ASCII letters and digits, as `rouge-score` does."""
    return [word for word in _ROUGE_BREAKS.sub(" ", text.lower()).split(" ") if word]


def longest_common_subsequence(first: list[str], second: list[str]) -> int:
    """Return the length of the longest common subsequence.

    Bit-parallel: one machine-word operation per 64 words of `first`
    (Hyyrö, "Bit-Parallel LCS-length Computation Revisited", 2004).
    """
    places: dict[str, int] = {}
    for index, word in enumerate(first):
        places[word] = places.get(word, 0) | 1 << index
    everything = (1 << len(first)) - 1
    unmatched = everything
    for word in second:
        matches = unmatched & places.get(word, 0)
        unmatched = ((unmatched + matches) | (unmatched - matches)) & everything
    return len(first) - unmatched.bit_count()


def _rouge_l(parsed: Json, target: Json, _spec: TaskSpec) -> float:
    predicted = rouge_words(cast("str", parsed))
    return max(rouge_l_of_words(predicted, rouge_words(gold)) for gold in _golds(target))


def rouge_l_of_words(predicted: list[str], gold: list[str]) -> float:
    """Return F1 of the longest common subsequence of two lists of words."""
    if not predicted or not gold:
        return 0.0
    return f1_of_counts(longest_common_subsequence(gold, predicted), len(predicted), len(gold))


_FAMILY_WORDS = frozenset({"family", "superfamily"})
_FAMILY_STOPS = frozenset(
    {
        "a",
        "an",
        "the",
        "of",
        "to",
        "in",
        "is",
        "are",
        "was",
        "this",
        "that",
        "these",
        "those",
        "which",
        "its",
        "their",
        "and",
        "or",
        "one",
        "as",
        "for",
        "with",
        "by",
        "from",
        "at",
        "on",
        "member",
        "members",
        "belongs",
        "belong",
        "belonging",
        "encode",
        "encodes",
        "encoding",
        "encoded",
        "codes",
        "involved",
        "expressed",
        "located",
    }
)
"""Words at which the name of a family ends, read away from `family`."""
_FAMILY_FILLERS = frozenset(
    {
        "gene",
        "genes",
        "protein",
        "proteins",
        "multigene",
        "product",
        "products",
        "large",
        "larger",
        "largest",
        "small",
        "big",
        "same",
        "other",
        "another",
        "new",
        "novel",
        "diverse",
        "conserved",
        "related",
        "single",
    }
)
"""Words that name no family where they stand alone, or at either end of a name."""
_IN_BRACKETS = re.compile(r"\([^()]*\)|\[[^\[\]]*\]")
_CLAUSE_ENDS = re.compile(r"[,;:]|[.!?](?:\s|$)")
_ENCODES = frozenset({"encode", "encodes", "encoding", "is", "are"})


def named_family(text: str) -> tuple[str, ...]:
    """Return the words of the first family that a text names, such as `olfactory receptor`.

    It is what stands before `family` or `superfamily`, else in `family of ...`. A text without
    these words names what is encoded, as in `olfactory receptor` or `encodes an olfactory
    receptor`. Abbreviations in brackets, articles, plurals, and `gene`, `protein`, `large` and the
    like at the ends are no part of a name. A text that names nothing is all its words.
    """
    clauses = [rouge_words(part) for part in _CLAUSE_ENDS.split(_IN_BRACKETS.sub(" ", text))]
    places = [(c, i) for c in clauses for i, word in enumerate(c) if word in _FAMILY_WORDS]
    for clause, place in places:
        before = _family_name(clause[:place][::-1])[::-1]
        after = clause[place + 1 :]
        found = before or (_family_name(after[1:]) if after[:1] == ["of"] else [])
        if found:
            return _in_singular(_without_fillers(found))
    if not places:
        for clause in clauses:
            verbs = [i for i, word in enumerate(clause) if word in _ENCODES]
            phrase = clause[verbs[0] + 1 :] if verbs else clause
            while phrase and phrase[0] in _FAMILY_STOPS:
                phrase = phrase[1:]
            if found := _family_name(phrase):
                return _in_singular(_without_fillers(found))
    return tuple(rouge_words(text))


def _family_name(words: list[str]) -> list[str]:
    """Return the words up to one that ends a name; nothing where they are fillers only."""
    end = next((i for i, word in enumerate(words) if word in _FAMILY_STOPS), len(words))
    return words[:end] if _without_fillers(words[:end]) else []


def _without_fillers(words: list[str]) -> list[str]:
    named = [i for i, word in enumerate(words) if word not in _FAMILY_FILLERS]
    return words[named[0] : named[-1] + 1] if named else []


def _in_singular(words: list[str]) -> tuple[str, ...]:
    last = words[-1]
    is_plural = len(last) > 3 and last.endswith("s") and not last.endswith(("ss", "us", "is"))
    return (*words[:-1], last[:-1] if is_plural else last)


def _family_match(parsed: Json, target: Json, _spec: TaskSpec) -> float:
    return float(
        named_family(cast("str", parsed)) in {named_family(gold) for gold in _golds(target)}
    )


EXACT_MATCH = Metric(
    name="exact_match",
    needs=("text", "label", "names", "arguments", "calls", "ranking", "label_set"),
    row=_exact_match,
)
"""Answer equal to a target but for white space around it."""

ANSWER_F1 = Metric(name="answer_f1", needs=("text",), row=_answer_f1)
"""Word overlap F1 with the best accepted answer (SQuAD, arXiv:1606.05250)."""

ROUGE_L = Metric(name="rouge_l", needs=("text",), row=_rouge_l)
"""F1 of the longest common subsequence of words, without stemming (Lin 2004)."""

LIST_F1 = Metric(name="list_f1", needs=("text",), row=_list_f1)
"""F1 between the answers listed with commas, averaged over rows (as BioASQ scores lists)."""

FAMILY_MATCH = Metric(name="family_match", needs=("text",), row=_family_match)
"""Answer names the same gene family as a target; case and punctuation do not count."""
