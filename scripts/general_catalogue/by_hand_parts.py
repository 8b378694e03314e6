"""Parts of the annotations in `by_hand`: tables of names and longer expressions."""

from __future__ import annotations

from typing import Any

HOC = [
    "evading growth suppressors", "tumor promoting inflammation",
    "enabling replicative immortality", "cellular energetics", "resisting cell death",
    "activating invasion and metastasis", "genomic instability and mutation",
    "inducing angiogenesis", "sustaining proliferative signaling", "avoiding immune destruction",
]  # fmt: skip
ETHOS = {
    "violence": "Does it incite violence?",
    "directed_vs_generalized": "Is it about one person rather than a group?",
    "gender": "Does it attack people because of their gender?",
    "race": "Does it attack people because of their race?",
    "national_origin": "Does it attack people because of where they come from?",
    "disability": "Does it attack people because of a disability?",
    "religion": "Does it attack people because of their religion?",
    "sexual_orientation": "Does it attack people because of their sexual orientation?",
}
CHEMPROT = {
    "CPR:1": "part of", "CPR:2": "regulator (direct or indirect)",
    "CPR:3": "upregulator or activator", "CPR:4": "downregulator or inhibitor",
    "CPR:5": "agonist", "CPR:6": "antagonist", "CPR:7": "modulator", "CPR:8": "cofactor",
    "CPR:9": "substrate or product of", "CPR:10": "explicitly not related",
}  # fmt: skip
_DIALOGUE = {
    "join": {
        "each": "context",
        "do": {
            "text": "{role}: {item.content}",
            "with": {"role": {"clean": "item.role", "steps": ["capitalize"]}},
        },
    },
    "sep": "\n\n",
}
RATINGS = {"clean": "rating_list", "steps": [{"split": ","}, {"each": ["int"]}]}
_LAST = "\n\nAssistant:"
_BEFORE = [{"before_last": _LAST}]
_REPLY = [{"after_last": _LAST}, "strip"]
_LEVELS = ["not", "slightly", "partially", "mostly", "perfectly"]
COGALEX = {
    "ANT": "antonym relation", "HYPER": "hypernym relation", "PART_OF": "part-of relation",
    "RANDOM": "unrelated words", "SYN": "synonym relation",
}  # fmt: skip
ONTONOTES = [
    "PERSON", "NORP", "FAC", "ORG", "GPE", "LOC", "PRODUCT", "DATE", "TIME", "PERCENT", "MONEY",
    "QUANTITY", "ORDINAL", "CARDINAL", "EVENT", "WORK_OF_ART", "LAW", "LANGUAGE",
]  # fmt: skip
RAG = {
    "if": {"of": "task_type", "eq": "Summary"},
    "then": {"clean": "context", "steps": [{"sub": [r"\n\noutput:\s*$", ""]}]},
    "else": "context",
}
UNIQUE_PAIR = ["text", "question"]
DYNASENT: dict[str, Any] = {
    "rows": [
        {"let": {"raters": {"function": "python_literal", "of": "label_distribution"}}},
        {
            "let": {
                "votes": [
                    {"count": {"first": [f"raters.{name}", {"const": []}]}}
                    for name in ("positive", "negative", "neutral", "mixed")
                ]
            }
        },
    ],
}
LEXICAL: dict[str, dict[str, str]] = {
    "BLESS": {
        "attri": "attribute", "coord": "co-hyponym", "event": "event", "hyper": "hypernym",
        "mero": "meronym", "random": "unrelated",
    },
    "K&H+N": {
        "false": "unrelated", "hypo": "hyponym", "mero": "meronym", "sibl": "co-hyponym",
    },
    "ROOT09": {"COORD": "co-hyponym", "HYPER": "hypernym", "RANDOM": "unrelated"},
}  # fmt: skip


def cbt() -> dict[str, Any]:
    """Return the rows of the cloze tasks: whole books stay in one split."""
    passage = {"clean": {"join": "sentences"}, "steps": ["lower", "spaces"]}
    return {
        "rows": [
            {"holdout": passage},
            {
                "where": {
                    "all": [
                        {"of": {"count": "options"}, "eq": 10},
                        {"of": "options", "contains": {"value": "answer"}},
                        {"of": {"count": {"clean": "options", "steps": ["unique"]}}, "eq": 10},
                    ]
                }
            },
        ],
    }


def hh() -> dict[str, Any]:
    """Return the fields of dialogues that differ in their last reply only."""
    same: dict[str, Any] = {
        "of": {"clean": "chosen", "steps": _BEFORE},
        "eq": {"value": {"clean": "rejected", "steps": _BEFORE}},
    }
    return {
        "rows": [{"where": same}],
        "fields": {
            "question": {"clean": "chosen", "steps": [*_BEFORE, "strip"]},
            "choices": [
                {"clean": "chosen", "steps": _REPLY},
                {"clean": "rejected", "steps": _REPLY},
            ],
            "target": 0,
        },
    }


def feedback() -> dict[str, Any]:
    """Both replies of a row, each with the majority of its annotators' levels."""
    level = {"extract": rf"(?i)^\W*The response is ({'|'.join(_LEVELS)}) helpful"}
    return {
        "rows": [
            {
                "explode": [
                    {"record": {"response": "response1", "feedback": "feedback1"}},
                    {"record": {"response": "response2", "feedback": "feedback2"}},
                ]
            },
            {
                "let": {
                    "levels": {
                        "each": "item.feedback",
                        "do": {"clean": "item", "steps": [level, "lower"]},
                        "where": {"of": "item", "matches": level["extract"]},
                    }
                }
            },
            {"where": {"of": {"count": "levels"}, "ge": 2}},
        ],
        "task": "classification",
        "fields": {
            "text": {
                "text": "{dialogue}\n\nAssistant: {item.response}",
                "with": {"dialogue": _DIALOGUE},
            },
            "target": {"majority": "levels"},
        },
        "labels": {name: f"{name} helpful" for name in _LEVELS},
        "ordered": True,
    }


def chatbot_arena() -> dict[str, Any]:
    """Return the fields of two conversations, one of which won."""

    def reply(column: str) -> Any:  # noqa: ANN401
        turns = {
            "join": {"each": column, "do": {"text": "{item.role}:\n{item.content}"}},
            "sep": "\n",
        }
        single = {"first": [f"{column}[1].content"]}
        return {"if": {"of": "turn", "eq": 1}, "then": single, "else": turns}

    return {
        "rows": [
            {"where": {"of": "winner", "in": ["model_a", "model_b"]}},
            {"where": {"of": "language", "eq": "English"}},
        ],
        "fields": {
            "question": {
                "if": {"of": "turn", "eq": 1},
                "then": "conversation_a[0].content",
                "else": {"const": ""},
            },
            "choices": [reply("conversation_a"), reply("conversation_b")],
            "target": {"find": "winner", "in": {"const": ["model_a", "model_b"]}},
        },
    }
