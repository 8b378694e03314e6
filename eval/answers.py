"""The shape of a task's parsed answer, which decides its parser and the metrics it can have."""

from __future__ import annotations

from typing import Literal

from pipeline.types import TaskKind, TaskSpec

AnswerType = Literal[
    "label",
    "scored_label",
    "soft_label",
    "option",
    "text",
    "entities",
    "tags",
    "label_set",
    "ranking",
    "number",
    "names",
    "arguments",
    "calls",
    "bfcl_calls",
]
"""What a parser returns:

- `label`: str, one of the allowed labels; `soft_label`: the same, where the target is the share
  of each label; `scored_label`: `{"label", "scores"}` with a log-likelihood per label, `None`
  where labels were not scored; `option`: int, index into the choices;
- `ranking`: list of int, indexes into the choices, best first;
- `text`: str; `number`: float; `label_set`: list of str in label order;
- `entities`: list of `{"text", "type"}`; `tags`: one str per token, `""` where none was given;
- `names`: list of str; `arguments`: object; `calls`: list of `{"name", "arguments"}`;
- `bfcl_calls`: as `calls`, where the target is the benchmark's answer key.
"""

_BY_KIND: dict[TaskKind, AnswerType] = {
    "classification": "label",
    "pair_classification": "label",
    "relation": "label",
    "dna_classification": "label",
    "multiple_choice": "option",
    "multi_label": "label_set",
    "soft_label": "soft_label",
    "regression": "number",
    "extractive_qa": "text",
    "text": "text",
    "chat": "text",
    "ranking": "ranking",
}

_BY_GRANULAR: dict[str, AnswerType] = {
    "calls": "calls",
    "names": "names",
    "parameters": "arguments",
    "next": "text",
    "response": "text",
}


SCORE_METRICS = frozenset({"auroc", "auprc"})
"""Metrics that need to know how likely each label is."""


def answer_type(spec: TaskSpec) -> AnswerType:
    """Return the shape of `spec`'s parsed answers."""
    shape = _answer_type(spec)
    return "scored_label" if shape == "label" and SCORE_METRICS & set(spec.metrics) else shape


def _answer_type(spec: TaskSpec) -> AnswerType:
    if spec.kind == "token_classification":
        return "tags" if spec.settings.get("scheme") == "plain" else "entities"
    if spec.kind == "function_calling":
        if spec.settings.get("checker") == "bfcl":
            return "bfcl_calls"
        return _BY_GRANULAR[str(spec.settings.get("granular", "calls"))]
    if spec.kind == "records":
        if spec.settings.get("answer") == "labels":
            return "label_set"
        return "label" if spec.labels else "text"
    return _BY_KIND[spec.kind]
