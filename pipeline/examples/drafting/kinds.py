"""All rules, in the order in which they are tried: the more telling columns come first."""

from __future__ import annotations

from pipeline.examples.drafting import plain_kinds, structured_kinds
from pipeline.examples.drafting.guess import Columns, Guess, Rule
from pipeline.types import TaskKind


def _relation(columns: Columns, forced: bool) -> Guess | None:
    found = structured_kinds.kb_relation(columns, forced)
    return found or plain_kinds.relation(columns, forced)


RULES: dict[TaskKind, Rule] = {
    "dna_classification": plain_kinds.dna,
    "token_classification": structured_kinds.token_classification,
    "function_calling": structured_kinds.function_calling,
    "chat": structured_kinds.chat,
    "extractive_qa": structured_kinds.extractive_qa,
    "multiple_choice": structured_kinds.multiple_choice,
    "relation": _relation,
    "multi_label": plain_kinds.multi_label,
    "regression": plain_kinds.regression,
    "pair_classification": plain_kinds.pair_classification,
    "classification": plain_kinds.classification,
    "text": plain_kinds.text,
    "records": structured_kinds.records,
}
"""Every kind that can be drafted."""


def guesses(columns: Columns, kind: TaskKind | None = None) -> list[Guess]:
    """Return what the columns could be, best first.

    Args:
        columns: Of the dataset, see `survey_columns`.
        kind: Only this kind, for which less evidence is asked.
    """
    rules = RULES if kind is None else {kind: RULES[kind]}
    found = [rule(columns, kind is not None) for rule in rules.values()]
    return [guess for guess in found if guess is not None]
