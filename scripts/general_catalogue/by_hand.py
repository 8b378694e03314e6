"""Fields and row operations of annotations that the facts describe in words only."""

from __future__ import annotations

from typing import Any

_HOC = [
    "evading growth suppressors", "tumor promoting inflammation",
    "enabling replicative immortality", "cellular energetics", "resisting cell death",
    "activating invasion and metastasis", "genomic instability and mutation",
    "inducing angiogenesis", "sustaining proliferative signaling", "avoiding immune destruction",
]  # fmt: skip
_ETHOS = {
    "violence": "Does it incite violence?",
    "directed_vs_generalized": "Is it about one person rather than a group?",
    "gender": "Does it attack people because of their gender?",
    "race": "Does it attack people because of their race?",
    "national_origin": "Does it attack people because of where they come from?",
    "disability": "Does it attack people because of a disability?",
    "religion": "Does it attack people because of their religion?",
    "sexual_orientation": "Does it attack people because of their sexual orientation?",
}
_CHEMPROT = {
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
_RATINGS = {"clean": "rating_list", "steps": [{"split": ","}, {"each": ["int"]}]}
_LAST = "\n\nAssistant:"
_BEFORE = [{"before_last": _LAST}]
_REPLY = [{"after_last": _LAST}, "strip"]
_LEVELS = ["not", "slightly", "partially", "mostly", "perfectly"]
_COGALEX = {
    "ANT": "antonym relation", "HYPER": "hypernym relation", "PART_OF": "part-of relation",
    "RANDOM": "unrelated words", "SYN": "synonym relation",
}  # fmt: skip
_ONTONOTES = [
    "PERSON", "NORP", "FAC", "ORG", "GPE", "LOC", "PRODUCT", "DATE", "TIME", "PERCENT", "MONEY",
    "QUANTITY", "ORDINAL", "CARDINAL", "EVENT", "WORK_OF_ART", "LAW", "LANGUAGE",
]  # fmt: skip
_RAG = {
    "if": {"of": "task_type", "eq": "Summary"},
    "then": {"clean": "context", "steps": [{"sub": [r"\n\noutput:\s*$", ""]}]},
    "else": "context",
}
_UNIQUE_PAIR = ["text", "question"]
_DYNASENT: dict[str, Any] = {
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
_LEXICAL: dict[str, dict[str, str]] = {
    "BLESS": {
        "attri": "attribute", "coord": "co-hyponym", "event": "event", "hyper": "hypernym",
        "mero": "meronym", "random": "unrelated",
    },
    "K&H+N": {
        "false": "unrelated", "hypo": "hyponym", "mero": "meronym", "sibl": "co-hyponym",
    },
    "ROOT09": {"COORD": "co-hyponym", "HYPER": "hypernym", "RANDOM": "unrelated"},
}  # fmt: skip


def _cbt() -> dict[str, Any]:
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


def _hh() -> dict[str, Any]:
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


def _feedback() -> dict[str, Any]:
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


def _chatbot_arena() -> dict[str, Any]:
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


BY_HAND: dict[str, dict[str, Any]] = {
    "ethos/multilabel": {
        "rows": [
            {
                "explode": [
                    {"record": {"question": {"const": text}, "share": column}}
                    for column, text in _ETHOS.items()
                ]
            },
            {
                "where": {
                    "any": [{"of": "item.share", "le": 0.2}, {"of": "item.share", "ge": 0.5}]
                }
            },
        ],
        "fields": {
            "text_a": "comment",
            "text_b": "item.question",
            "target": {"bin": "item.share", "at": [0.5], "to": ["no", "yes"]},
        },
        "labels": ["no", "yes"],
    },
    "lex_glue/eurlex": {
        "task": "multi_label",
        "fields": {"text": "text", "target": "labels"},
    },
    "lex_glue/unfair_tos": {
        "rows": [{"where": {"of": {"count": "labels"}, "le": 1}}],
        "fields": {
            "text": "text",
            "target": {"first": ["labels[0]", {"const": "fair clause"}]},
        },
    },
    "go_emotions/simplified": {
        "rows": [{"where": {"of": {"count": "labels"}, "eq": 1}}],
        "fields": {"text": "text", "target": "labels[0]"},
    },
    "hate_speech18": {"labels": ["not hate", "hate"]},
    "lexical_relation_classification/CogALexV": {"labels": _COGALEX},
    "lexical_relation_classification": {
        "target": "relation",
        "labels": _LEXICAL["BLESS"],
        "per_config": {
            config: {"labels": _LEXICAL[config]} for config in ("K&H+N", "ROOT09")
        },
    },
    "insincere-questions": {
        "target": "label",
        "labels": ["sincere question", "insincere question"],
    },
    "indic_glue/iitp-mr.hi": {"target": "label"},
    "indic_glue/inltkh": {"target": "label"},
    "agent_action_safety": {
        "target": "is_safe",
        "labels": {"false": "unsafe", "true": "safe", "0": "unsafe", "1": "safe"},
    },
    "twentyquestions": {
        "labels": ["never", "rarely", "sometimes", "usually", "always", "irrelevant"],
        "ordered": False,
    },
    "miam": {
        "fields": {"text": "Utterance", "target": "Dialogue_Act"},
        "labels": {
            name: name
            for name in (
                "Afirmacion", "Apertura", "Cierre", "Confirmacion", "Espera", "Indefinida",
                "Negacion", "No_entendido", "Nueva_consulta", "Pregunta", "Respuesta",
            )
        },
    },
    "ontonotes_english/SpeedOfMagic--ontonotes_english": {
        "labels": ["O", *(f"{letter}-{name}" for name in _ONTONOTES for letter in "BI")],
    },
    "acceptability-prediction/rating_votes": {
        "task": "classification",
        "rows": [{"where": {"of": "MOP", "eq": "MOP4"}}],
        "fields": {"text": "text", "target": {"majority": _RATINGS}},
        "labels": {"1": "1 (unacceptable)", "2": "2", "3": "3", "4": "4 (acceptable)"},
        "ordered": True,
    },
    "acceptability-prediction/binary_votes": {
        "task": "classification",
        "rows": [{"where": {"of": "MOP", "eq": "MOP2"}}],
        "fields": {"text": "text", "target": {"majority": _RATINGS}},
        "labels": {"1": "unacceptable", "4": "acceptable"},
    },
    "chatbot_arena_conversations": _chatbot_arena(),
    "hh-rlhf/": _hh(),
    "logiqa": {
        "rows": [],
        "fields": {
            "question": {"join": ["context", "question"], "strip": True},
            "choices": {
                "clean": {
                    "if": {"of": "options", "is": "text"},
                    "then": {"function": "python_literal", "of": "options"},
                    "else": "options",
                },
                "steps": [{"each": [{"sub": [r"^[A-E][.):]\s*", ""]}, "strip"]}],
            },
            "target": {
                "if": {"of": "answer", "is": "number"},
                "then": "answer",
                "else": {
                    "find": {"clean": "answer", "steps": ["strip", {"rstrip": "."}, "upper"]},
                    "in": {"const": list("ABCD")},
                },
            },
        },
    },
    "riddle_sense": {
        "rows": [],
        "fields": {
            "question": "question",
            "choices": {
                "clean": {"function": "python_literal", "of": "choices"},
                "steps": [{"each": [{"after_first": ": "}]}],
            },
            "target": {"find": "answerKey", "in": {"const": list("ABCDE")}, "else": "skip"},
        },
    },
    "xcsr": {
        "fields": {
            "question": {"first": ["question.stem", {"const": "Choose one."}]},
            "choices": "question.choices.text",
            "target": {"find": "answerKey", "in": {"const": list("ABCDE")}, "else": "skip"},
        },
    },
    "missing-item-prediction/contrastive": {
        "rows": [],
        "fields": {
            "text_a": {
                "clean": "prompt",
                "steps": [{"before_first": "\nProvide no explanation"}, {"before_last": '. Is "'}],
            },
            "text_b": {
                "clean": "prompt",
                "steps": [
                    {"before_first": "\nProvide no explanation"},
                    {"after_last": '. Is "'},
                    {"before_last": '" in the previous list?'},
                ],
            },
            "target": {"clean": "y", "steps": [{"rstrip": "."}, "lower"]},
        },
    },
    "IntentGrasp/all": {
        "rows": [
            {
                "where": {
                    "all": [
                        {"of": {"count": "answer_index"}, "eq": 1},
                        {
                            "of": "metadata.original_task",
                            "not_in": [
                                "banking77", "clinc", "trec", "snips", "sci_cite", "mtop",
                                "moral_stories",
                            ],
                        },
                    ]
                }
            },
            {"holdout": ["context", "question"]},
        ],
    },
    "chemprot/chemprot_full_source": {
        "rows": [
            {
                "pairs": {
                    "entities": "entities",
                    "relations": "relations",
                    "head": "arg1",
                    "tail": "arg2",
                }
            },
            {"where": {"of": "relation", "in": list(_CHEMPROT)}},
        ],
        "fields": {
            "text_a": "text",
            "text_b": {"text": "{head.text} -> {tail.text}"},
            "target": "relation",
        },
        "labels": _CHEMPROT,
    },
    "privacy-200k-Mistral-Large-3": {
        "rows": [{"holdout": {"clean": "text", "steps": ["spaces", "lower"]}}],
    },
    "wildguardmix-cleaned/prompt_harm": {"rows": [{"unique": "prompt"}]},
    "HelpSteer3/feedback": _feedback(),
    "HelpSteer3/individual_preferences": {
        "task": "classification",
        "target": {"majority": "individual_preference[*].score"},
        "labels": {
            "-3": "-3: Response 1 is much better", "-2": "-2: Response 1 is better",
            "-1": "-1: Response 1 is slightly better", "0": "0: About the same",
            "1": "1: Response 2 is slightly better", "2": "2: Response 2 is better",
            "3": "3: Response 2 is much better",
        },
        "ordered": True,
    },
    "hallmarks-of-cancer/yesno": {
        "rows": [{"explode": {"const": _HOC}}],
        "fields": {
            "text_a": "text",
            "text_b": {"text": "Does this sentence describe {item}?"},
            "target": {
                "if": {"of": "labels", "contains": {"value": "item"}},
                "then": {"const": "yes"},
                "else": {"const": "no"},
            },
        },
        "labels": ["no", "yes"],
    },
    "semeval2014-absa": {
        "rows": [{"holdout": "text"}, {"explode": "aspectTerms", "as": "aspect"}],
        "fields": {
            "text_a": "text",
            "text_b": {"text": "Aspect: {aspect.term} (characters {aspect.from}:{aspect.to})"},
            "target": "aspect.polarity",
        },
    },
    "nevir": {
        "rows": [
            {"holdout": {"clean": "id", "steps": [{"before_first": "-"}]}},
            {
                "explode": [
                    {"record": {"query": "q1", "gold": 0}},
                    {"record": {"query": "q2", "gold": 1}},
                ]
            },
        ],
        "fields": {"question": "item.query", "choices": ["doc1", "doc2"], "target": "item.gold"},
    },
    "tab/identifier": {
        "rows": [{"holdout": "doc_id"}, {"explode": "entity_mentions", "as": "mention"}],
        "fields": {
            "text": {
                "text": "{task}\n\n{marked}",
                "with": {
                    "marked": {
                        "mark": "text",
                        "spans": [
                            {
                                "name": "TARGET",
                                "start": "mention.start_offset",
                                "end": "mention.end_offset",
                                "text": "mention.span_text",
                            }
                        ],
                    }
                },
            },
            "target": "mention.identifier_type",
        },
    },
    "sentihood/sentiment": {
        "rows": [
            {"holdout": "text"},
            {"explode": "opinions", "as": "opinion"},
            {
                "let": {
                    "question": {
                        "text": "What sentiment is expressed about {aspect} for {target}?",
                        "with": {
                            "aspect": {
                                "clean": "opinion.aspect",
                                "steps": [{"replace": ["-", " "]}],
                            },
                            "target": "opinion.target_entity",
                        },
                    }
                }
            },
            {"unique": _UNIQUE_PAIR, "conflict_of": "opinion.sentiment"},
        ],
        "fields": {"text_a": "text", "text_b": "question", "target": "opinion.sentiment"},
    },
    "mams/atsa": {
        "rows": [
            {"holdout": "input[0]"},
            {"explode": {"function": "python_literal", "of": "output"}, "as": "aspect"},
            {"unique": ["input[0]", "aspect[0]"], "conflict_of": "aspect[1]"},
        ],
        "fields": {
            "text_a": "input[0]",
            "text_b": {"text": 'What sentiment is expressed toward the aspect "{aspect[0]}"?'},
            "target": "aspect[1]",
        },
    },
    "ragtruth/grounding": {
        "rows": [{"holdout": _RAG}, {"where": {"of": "quality", "eq": "good"}}],
        "fields": {
            "text": {
                "text": "Request:\n{query}\n\nSource:\n{source}\n\nCandidate response:\n{output}",
                "with": {"source": _RAG},
            },
            "target": {
                "if": {"of": {"json": "hallucination_labels"}, "truthy": True},
                "then": 1,
                "else": 0,
            },
        },
    },
    "cbt/": _cbt(),
    "recam": {
        "rows": [
            {"holdout": {"clean": "article", "steps": ["lower", "spaces"]}},
            {"where": {"of": "question", "contains": "@placeholder"}},
        ],
    },
    "knowref60k": {
        "rows": [
            {"holdout": {"clean": "original_sentence", "steps": ["lower", "spaces"]}},
            {
                "where": {
                    "all": [
                        {
                            "of": "correct_candidate",
                            "in": ["candidate_0", "candidate_1", "neither"],
                        },
                        {"of": "annotation_strength", "in": ["4", "5"]},
                        {"of": "candidate0", "ne": {"value": "candidate1"}},
                    ]
                }
            },
        ],
    },
    "mms": {
        "rows": [
            {
                "where": {
                    "not": {
                        "of": "original_dataset",
                        "matches": (
                            "_multilan_amazon|en_financial_phrasebank|en_poem_sentiment|"
                            "en_silicone_|en_semeval_2017|ar_semeval_2017|de_sb10k|"
                            "it_evalita2016|pt_tweet_sent_br"
                        ),
                    }
                }
            },
            {"cap_per": "original_dataset", "max": 5000},
        ],
    },
    "dynasent/r1_votes": _DYNASENT,
    "dynasent/r2_votes": _DYNASENT,
    "hatexplain/votes": {
        "task": "classification",
        "target": {"majority": "annotators.label"},
        "labels": ["hate speech", "normal", "offensive"],
    },
    "nlgraph": {"labels": ["True", "False"]},
    "language-identification": {
        "target": "labels",
        "labels": {
            "ar": "Arabic", "bg": "Bulgarian", "de": "German", "el": "Greek", "en": "English",
            "es": "Spanish", "fr": "French", "hi": "Hindi", "it": "Italian", "ja": "Japanese",
            "nl": "Dutch", "pl": "Polish", "pt": "Portuguese", "ru": "Russian", "sw": "Swahili",
            "th": "Thai", "tr": "Turkish", "ur": "Urdu", "vi": "Vietnamese", "zh": "Chinese",
        },
    },
    "spartqa-yn": {
        "labels": {"DK": "don't know", "No": "No", "Yes": "Yes"},
        "target": "answer",
    },
    "nope": {
        "labels": {"E": "entailment", "N": "neutral", "C": "contradiction"},
        "target": "label",
    },
    "scifact_entailment": {
        "labels": {"SUPPORT": "support", "CONTRADICT": "contradict", "NEI": "neutral"},
        "target": "verdict",
    },
    "ethics/commonsense": {
        "target": {
            "map": "label",
            "to": {"0": "acceptable", "acceptable": "acceptable"},
            "else": {"const": "unacceptable"},
        },
        "labels": ["acceptable", "unacceptable"],
    },
    "blog_authorship_corpus/age": {
        "target": {"bin": "age", "at": [18, 28], "to": ["13-17", "23-27", "33-48"]},
        "labels": ["13-17", "23-27", "33-48"],
        "ordered": True,
    },
}  # fmt: skip
"""What replaces the translated parts, by the beginning of the task's id."""
