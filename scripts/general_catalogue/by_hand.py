"""Fields and row operations of annotations that the facts describe in words only."""

from __future__ import annotations

from typing import Any

from scripts.general_catalogue.by_hand_parts import (
    CHEMPROT,
    COGALEX,
    DYNASENT,
    ETHOS,
    HOC,
    LEXICAL,
    ONTONOTES,
    RAG,
    RATINGS,
    UNIQUE_PAIR,
    cbt,
    chatbot_arena,
    feedback,
    hh,
)

BY_HAND: dict[str, dict[str, Any]] = {
    "ethos/multilabel": {
        "rows": [
            {
                "explode": [
                    {"record": {"question": {"const": text}, "share": column}}
                    for column, text in ETHOS.items()
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
    # Flags that are texts: `FALSE` is not empty.
    "gap": {
        "fields": {
            "text": {
                "mark": "Text",
                "spans": [
                    {"name": "PRONOUN", "start": "Pronoun-offset", "text": "Pronoun"},
                    {"name": "A", "start": "A-offset", "text": "A"},
                    {"name": "B", "start": "B-offset", "text": "B"},
                ],
            },
            "target": {
                "if": {"of": {"clean": "A-coref", "steps": ["bool"]}, "eq": True},
                "then": 0,
                "else": {
                    "if": {"of": {"clean": "B-coref", "steps": ["bool"]}, "eq": True},
                    "then": 1,
                    "else": 2,
                },
            },
        },
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
    "lexical_relation_classification/CogALexV": {"labels": COGALEX},
    "lexical_relation_classification": {
        "target": "relation",
        "labels": LEXICAL["BLESS"],
        "per_config": {
            config: {"labels": LEXICAL[config]} for config in ("K&H+N", "ROOT09")
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
        "labels": ["O", *(f"{letter}-{name}" for name in ONTONOTES for letter in "BI")],
    },
    "acceptability-prediction/rating_votes": {
        "task": "classification",
        "rows": [{"where": {"of": "MOP", "eq": "MOP4"}}],
        "fields": {"text": "text", "target": {"majority": RATINGS}},
        "labels": {"1": "1 (unacceptable)", "2": "2", "3": "3", "4": "4 (acceptable)"},
        "ordered": True,
    },
    "acceptability-prediction/binary_votes": {
        "task": "classification",
        "rows": [{"where": {"of": "MOP", "eq": "MOP2"}}],
        "fields": {"text": "text", "target": {"majority": RATINGS}},
        "labels": {"1": "unacceptable", "4": "acceptable"},
    },
    "chatbot_arena_conversations": chatbot_arena(),
    "hh-rlhf/": hh(),
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
            {"where": {"of": "relation", "in": list(CHEMPROT)}},
        ],
        "fields": {
            "text_a": "text",
            "text_b": {"text": "{head.text} -> {tail.text}"},
            "target": "relation",
        },
        "labels": CHEMPROT,
    },
    "privacy-200k-Mistral-Large-3": {
        "rows": [{"holdout": {"clean": "text", "steps": ["spaces", "lower"]}}],
    },
    "wildguardmix-cleaned/prompt_harm": {"rows": [{"unique": "prompt"}]},
    "HelpSteer3/feedback": feedback(),
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
        "rows": [{"explode": {"const": HOC}}],
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
            {"unique": UNIQUE_PAIR, "conflict_of": "opinion.sentiment"},
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
        "rows": [{"holdout": RAG}, {"where": {"of": "quality", "eq": "good"}}],
        "fields": {
            "text": {
                "text": "Request:\n{query}\n\nSource:\n{source}\n\nCandidate response:\n{output}",
                "with": {"source": RAG},
            },
            "target": {
                "if": {"of": {"json": "hallucination_labels"}, "truthy": True},
                "then": 1,
                "else": 0,
            },
        },
    },
    "cbt/": cbt(),
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
    "dynasent/r1_votes": DYNASENT,
    "dynasent/r2_votes": DYNASENT,
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
