"""What the facts file does not say: splits, label names, languages, access, and what is left out.

Splits and class names of the older hub datasets are in `hub_facts.json` (from the published
`dataset_infos.json` files of huggingface/datasets, Apache License 2.0).
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

ALL = ("train", "validation", "test")
_TV, _TT, _VT, _T = ("train", "validation"), ("train", "test"), ("validation", "test"), ("train",)

SPLITS: dict[str, tuple[str, ...]] = {
    "tasksource/babi_nli": ALL, "alisawuffles/WANLI": _TT, "tasksource/recast": ALL,
    "tals/vitaminc": ALL, "mteb/amazon_counterfactual": ALL,
    "SetFit/insincere-questions": _TT, "SetFit/toxic_conversations": _TT,
    "pkavumba/balanced-copa": _TT, "tasksource/linguisticprobing": ALL, "zapsdcn/sciie": ALL,
    "zapsdcn/citation_intent": ALL, "zapsdcn/hyperpartisan_news": ALL,
    "hendrycks/ethics": _TT, "papluca/language-identification": ALL,
    "pacovaldez/stackoverflow-questions": ALL, "nala-cub/americas_nli": _VT,
    "tasksource/dynasent": ALL, "dynabench/dynasent": ALL,
    "GBaker/MedQA-USMLE-4-options-hf": ALL, "stanfordnlp/SHP": ALL,
    "ColumbiaNLP/FLUTE": _T, "allenai/openbookqa": ALL, "tasksource/social_i_qa": _TV,
    "HannahRoseKirk/HatemojiBuild": ALL, "hitachi-nlp/FLD.v2": ALL, "qbao775/PARARULE-Plus": ALL,
    "skg/toxigen-data": _TT, "Anthropic/persuasion": _T, "xTRam1/safe-guard-prompt-injection": _TT,
    "deepset/prompt-injections": _TT, "PKU-Alignment/PKU-SafeRLHF": _TT,
    "nvidia/HelpSteer": _TV, "nvidia/HelpSteer2": _TV, "nvidia/HelpSteer3": _TV,
    "tasksource/hh-rlhf": _TT, "zeroshot/twitter-financial-news-sentiment": _TV,
    "declare-lab/cicero": ALL, "sileod/wikimedqa": ALL, "lighteval/lsat_qa": ALL,
    "tasksource/race-c": ALL, "tasksource/onestop_qa": _T, "lasha-nlp/CONDAQA": ALL,
    "tasksource/folio": _TV, "DFKI-SLT/few-nerd": ALL, "nlpaueb/finer-139": ALL,
    "eriktks/conll2000": _TT, "SpeedOfMagic/ontonotes_english": ALL, "rajpurkar/squad_v2": _TV,
    "microsoft/wiki_qa": ALL, "tomaarsen/conll2003": ALL, "wenhu/tab_fact": ALL,
    "ccdv/patent-classification": ALL, "WillHeld/top_v2": ALL, "SetFit/sst5": ALL,
    "allenai/qasc": ALL, "copenlu/scientific-exaggeration-detection": _TT,
    "google/code_x_glue_cc_defect_detection": ALL, "theatticusproject/cuad-qa": _TT,
    "bigbio/chemprot": ALL, "juletxara/xstory_cloze": ("train", "eval"),
    "orionweller/NevIR": ALL, "joelito/mapa": ALL, "masakhane/masakhanews": ALL,
    "mteb/MassiveIntentClassification": ALL, "mteb/NusaX-senti": ALL, "SetFit/xglue_nc": _T,
    "mteb/AfriSentiClassification": _TT, "tasksource/offenseval_2020": _TT,
    "khalidalt/offenseval_2020_ar": _TT, "clinc/clinc_oos": ALL, "tasksource/mtop": ALL,
    "bogdanminko/wildguardmix-cleaned": _TT, "emozilla/quality": _TV, "sled-umich/TRIP": ALL,
    "Hate-speech-CNERG/hatexplain": ALL, "google/civil_comments": ALL, "jnlpba/jnlpba": _TV,
    "casey-martin/CommonLit-Ease-of-Readability": _TT, "coref-data/gap_raw": ALL,
    "tasksource/moral_stories": _T, "LabHC/moral_stories": _T, "tasksource/jigsaw_toxicity": _T,
    "yuweiyin/IntentGrasp": _TT, "webis/args_me": ALL, "Zhengping/UNLI": ALL,
    "OpenMed/DDI-Corpus-Processed": ALL, "fhamborg/news_sentiment_newsmtsc": ALL,
}  # fmt: skip
"""Source splits of datasets that the facts describe as `default`; `hub_facts.json` has others."""

HIDDEN_TEST: frozenset[str] = frozenset(
    {
        "glue/qnli", "glue/rte", "glue/wnli", "glue/qqp", "glue/stsb", "glue/cola", "glue/sst2",
        "super_glue/boolq", "super_glue/boolq_passage", "super_glue/cb", "super_glue/multirc",
        "super_glue/wic", "super_glue/copa", "swag/regular", "cosmos_qa", "medmcqa",
        "riddle_sense", "xcsr", "social_i_qa", "reclor", "americas_nli/hidden",
    }
)  # fmt: skip
"""Tasks whose `test` split is published without answers."""

OWN_SPLITS: dict[str, dict[str, Any]] = {
    "super_glue/axg": {"test": "test"},
    "stsb_multi_mt": {"train": "train", "validation": "dev", "test": "test"},
    "xstory_cloze": {"train": "train", "test": "eval"},
    "numer_sense": {"train": "train", "validation": {"take": 0.1, "from": "train"}},
    "quail": {"train": "train", "validation": "validation", "test": "challenge"},
    "humicroedit": {"train": "train", "validation": "validation", "test": "test"},
    "xcsr": {"validation": "validation"},
    "ethos/binary": {
        "train": "train", "validation": {"take": 0.1, "from": "train"}, "test": "test",
    },
    "financial_phrasebank": {
        "train": "train", "validation": {"take": 0.1, "from": "train"}, "test": "test",
    },
    "xglue/qadsm": {
        "train": "train",
        "validation": ["validation.en", "validation.de", "validation.fr"],
        "test": ["test.en", "test.de", "test.fr"],
    },
    "xglue/qam": {
        "train": "train",
        "validation": ["validation.en", "validation.de", "validation.fr"],
        "test": ["test.en", "test.de", "test.fr"],
    },
    "xglue/wpr": {
        "train": "train",
        "validation": [f"validation.{code}" for code in ("en", "de", "es", "fr", "it", "pt", "zh")],
        "test": [f"test.{code}" for code in ("en", "de", "es", "fr", "it", "pt", "zh")],
    },
}  # fmt: skip
"""Where the split table cannot be derived, by the beginning of the task's id."""

_ENC = ["entailment", "neutral", "contradiction"]
_OWN = {
    "WANLI": _ENC, "ConTRoL-nli": _ENC, "counterfactually-augmented-snli": _ENC,
    "cnli": _ENC, "dynasent": ["positive", "neutral", "negative"],
    "scitail": ["entailment", "neutral"], "monotonicity-entailment": ["entailment", "neutral"],
    "help-nli": ["entailment", "neutral"], "monli": ["entailment", "neutral"],
    "toxic_conversations": ["not toxic", "toxic"],
    "amazon_counterfactual": ["not-counterfactual", "counterfactual"],
    "vitaminc": ["SUPPORTS", "REFUTES", "NOT ENOUGH INFO"],
    "hope_edi": ["Hope_speech", "Non_hope_speech", "not-English"],
    "rumoureval_2019": ["support", "deny", "query", "comment"],
    "TuringBench": [
        "human", "ctrl", "fair_wmt19", "fair_wmt20", "gpt1", "gpt2_large", "gpt2_medium",
        "gpt2_pytorch", "gpt2_small", "gpt2_xl", "gpt3", "grover_base", "grover_large",
        "grover_mega", "pplm_distil", "pplm_gpt2", "transfo_xl", "xlm", "xlnet_base",
        "xlnet_large",
    ],
    "sciie": [
        "COMPARE", "CONJUNCTION", "EVALUATE-FOR", "FEATURE-OF", "HYPONYM-OF", "PART-OF",
        "USED-FOR",
    ],
    "citation_intent": [
        "Background", "CompareOrContrast", "Extends", "Future", "Motivation", "Uses",
    ],
    "open_question_type": [
        "cause", "comparison", "concept", "consequence", "disjunctive", "example", "extent",
        "judgmental", "procedural", "verification",
    ],
    "blog_authorship_corpus/gender": ["female", "male"],
    "scientific-exaggeration-detection": ["downplays", "same", "exaggerates"],
    "commonsense_qa_2.0": ["no", "yes"], "dynahate": ["nothate", "hate"],
    "scinli": ["contrasting", "entailment", "neutral", "reasoning"],
    "MSciNLI": ["contrasting", "entailment", "neutral", "reasoning"],
    "CONDAQA": ["DON'T KNOW", "NO", "YES"], "scruples": ["RIGHT", "WRONG"],
    "FLUTE": ["Entailment", "Contradiction"], "CREAK": ["false", "true"],
    "counterfactually-augmented-imdb": ["Negative", "Positive"],
    "implicit-hate-stg1": ["not_hate", "implicit_hate", "explicit_hate"],
    "logiqa-2.0-nli": ["entailed", "not-entailed"], "args_me": ["CON", "PRO"],
    "Touche23-ValueEval": ["against", "in favor of"],
    "tracie": ["entailment", "contradiction"], "fool-me-twice": ["REFUTES", "SUPPORTS"],
    "logical-fallacy": [
        "ad hominem", "ad populum", "appeal to emotion", "circular reasoning", "equivocation",
        "fallacy of credibility", "fallacy of extension", "fallacy of logic",
        "fallacy of relevance", "false causality", "false dilemma", "faulty generalization",
        "intentional",
    ],
    "FLD.v2": ["PROVED", "DISPROVED", "UNKNOWN"],
    "stepgame": [
        "above", "below", "left", "lower-left", "lower-right", "overlap", "right", "upper-left",
        "upper-right",
    ],
    "ruletaker": ["entailment", "not entailment"], "proofwriter": ["True", "False", "Unknown"],
    "LogicNLI": ["entailment", "contradiction", "neutral", "self_contradiction"],
    "nli4ct_semeval2024": ["Entailment", "Contradiction"],
    "doc-nli": ["entailment", "not_entailment"],
    "wildguardmix-cleaned/prompt_harm": ["harmful", "unharmful"],
    "wildguardmix-cleaned/response_harm": ["harmful", "unharmful"],
    "wildguardmix-cleaned/response_refusal": ["compliance", "refusal"],
    "argument-feedback": ["Adequate", "Effective", "Ineffective"],
    "wice": ["supported", "partially_supported", "not_supported"],
    "seahorse_summarization_evaluation": ["No", "Yes"],
    "empathetic-dialogues/emotion": [
        "afraid", "angry", "annoyed", "anticipating", "anxious", "apprehensive", "ashamed",
        "caring", "confident", "content", "devastated", "disappointed", "disgusted",
        "embarrassed", "excited", "faithful", "furious", "grateful", "guilty", "hopeful",
        "impressed", "jealous", "joyful", "lonely", "nostalgic", "prepared", "proud", "sad",
        "sentimental", "surprised", "terrified", "trusting",
    ],
    "streusle/noun": [
        f"n.{name}"
        for name in (
            "ACT", "ANIMAL", "ARTIFACT", "ATTRIBUTE", "BODY", "COGNITION", "COMMUNICATION",
            "EVENT", "FEELING", "FOOD", "GROUP", "LOCATION", "MOTIVE", "NATURALOBJECT", "OTHER",
            "PERSON", "PHENOMENON", "PLANT", "POSSESSION", "PROCESS", "QUANTITY", "RELATION",
            "SHAPE", "STATE", "SUBSTANCE", "TIME",
        )
    ],
    "streusle/verb": [
        f"v.{name}"
        for name in (
            "body", "change", "cognition", "communication", "competition", "consumption",
            "contact", "creation", "emotion", "motion", "perception", "possession", "social",
            "stative", "weather",
        )
    ],
    "x-stance": ["AGAINST", "FAVOR"], "universal-joy": [
        "anger", "anticipation", "fear", "joy", "sadness",
    ],
    "MLMA_hate_speech": [
        "abusive", "disrespectful", "fearful", "hateful", "normal", "offensive",
    ],
    "xglue/nc": [
        "autos", "entertainment", "finance", "foodanddrink", "health", "lifestyle", "news",
        "sports", "travel", "video",
    ],
    "multilingual-sentiments": ["negative", "neutral", "positive"],
    "masakhanews": [
        "business", "entertainment", "health", "politics", "religion", "sports", "technology",
    ],
    "indic_glue/md.hi": [
        "Argumentative", "Descriptive", "Dialogue", "Informative", "Narrative", "Other",
    ],
    "shell-safety-v2": ["safe", "unsafe"],
    "x-fact": [
        "complicated/hard to categorise", "false", "half true", "mostly false", "mostly true",
        "other", "true",
    ],
}  # fmt: skip

LABELS: dict[str, Any] = {
    # A map takes these texts and nothing else: class numbers of unknown order are an error.
    **{start: {name: name for name in names} for start, names in _OWN.items()},
    "strategy-qa": {"false": "False", "true": "True"},
    "boolq-natural-perturbations": {"false": "False", "true": "True"},
    "linguisticprobing": None,
    "mms": ["negative", "neutral", "positive"],
    "super_glue/boolq": ["False", "True"],
}
"""Label names, by the beginning of the task's id; `None`: those recorded with the data."""

RAN_ON_ROWS: frozenset[str] = frozenset(
    {
        "anli/a1", "anli/a2", "anli/a3", "clinc_oos/plus", "codah/codah",
        "go_emotions/simplified", "hallmarks-of-cancer/yesno", "monotonicity-entailment",
        "ncbi_disease/ncbi_disease", "wnut_17/wnut_17",
    }
)  # fmt: skip
"""Annotations that ran on real rows (of anli: those of the dev splits); see docs/real_rows.md."""

GATED: dict[str, str] = {
    "lmsys/chatbot_arena_conversations": "Accept the terms on the dataset page and log in.",
    "skg/toxigen-data": "Ask for access on the dataset page and log in.",
}

LANGUAGES: dict[str, list[str]] = {
    "multilingual-NLI-26lang-2mil7": [
        "en", "ar", "bn", "de", "es", "fa", "fr", "he", "hi", "id", "it", "ja", "ko", "mr", "nl",
        "pl", "ps", "pt", "ru", "sv", "sw", "ta", "tr", "uk", "ur", "vi", "zh",
    ],
    "xnli": ["en"], "americas_nli": [
        "aym", "bzd", "cni", "gn", "hch", "nah", "oto", "quy", "shp", "tar",
    ],
    "miam": ["es"], "x-stance": ["de", "fr", "it"], "offenseval_2020/ar": ["ar"],
    "offenseval_2020/da": ["da"], "offenseval_2020/gr": ["el"], "offenseval_2020/tr": ["tr"],
    "MLMA_hate_speech": ["ar", "en", "fr"],
    "x-fact": [
        "ar", "az", "bn", "de", "es", "fa", "fr", "gu", "hi", "id", "it", "ka", "mr", "no", "nl",
        "pa", "pl", "pt", "ro", "ru", "si", "sq", "sr", "ta", "tr",
    ],
    "xglue/nc": ["en", "de", "es", "fr", "ru"], "xglue/qadsm": ["en", "de", "fr"],
    "xglue/qam": ["en", "de", "fr"],
    "xglue/wpr": ["en", "de", "es", "fr", "it", "pt", "zh"],
    "language-identification": [
        "ar", "bg", "de", "el", "en", "es", "fr", "hi", "it", "ja", "nl", "pl", "pt", "ru", "sw",
        "th", "tr", "ur", "vi", "zh",
    ],
    "exams": [
        "ar", "bg", "de", "es", "fr", "hr", "hu", "it", "lt", "mk", "pl", "pt", "sq", "sr", "tr",
        "vi",
    ],
    "multilingual-sentiments": ["id", "ms"],
    "tweet_sentiment_multilingual": ["ar", "en", "fr", "de", "hi", "it", "pt", "es"],
    "amazon_reviews_multi": ["en", "de", "es", "fr", "ja", "zh"],
    "mms": [
        "ar", "bg", "bs", "cs", "de", "el", "en", "es", "fa", "fr", "he", "hi", "hr", "hu", "it",
        "lv", "pl", "pt", "ru", "sk", "sl", "sq", "sr", "sv", "th", "ur", "zh",
    ],
    "massive": ["en"], "clue": ["zh"], "klue": ["ko"], "indic_glue/inltkh": [
        "gu", "ml", "mr", "ta",
    ],
    "indic_glue/wstp": ["as", "bn", "gu", "hi", "kn", "ml", "mr", "or", "pa", "ta", "te"],
    "indic_glue/md.hi": ["hi"], "mtop": ["en", "de", "es", "fr", "hi", "th"],
    "tydi-as2-balanced": ["ar", "bn", "en", "fi", "id", "ja", "ko", "ru", "sw", "te", "th"],
}  # fmt: skip
"""Languages of the tasks of the multilingual part, by the beginning of the id; else unknown."""

CONFIG_LANGUAGES: dict[str, str] = {
    "kannada": "kn", "tamil": "ta", "malayalam": "ml", "X-CSQA-jap": "ja", "X-CODAH-jap": "ja",
    "Bangla (BN)": "bn", "Chinese (ZH)": "zh", "English (EN)": "en", "Farsi (FA)": "fa",
    "French (FR)": "fr", "German (DE)": "de", "Hindi (HI)": "hi", "Italian (IT)": "it",
    "Portuguese (PT)": "pt", "Spanish (ES)": "es", "Swedish (SV)": "sv", "Ukrainian (UK)": "uk",
    "xlwic_de_de": "de", "xlwic_it_it": "it", "xlwic_fr_fr": "fr", "xlwic_en_ko": "ko",
    "iitp-mr.hi": "hi", "iitp-pr.hi": "hi", "inltkh.te": "te", "bbca.hi": "hi", "sna.bn": "bn",
}  # fmt: skip

LEFT_OUT: dict[str, str] = {
    "utilitarianism": "the order of each pair is drawn at random by code",
    "tomi-nli": "two questions per story come from parsing it by code",
    "icl-symbol-tuning-instruct": "the second text is an option drawn at random by code",
    "BeaverTails": "votes are averaged over several rows of a pair",
    "BeaverTails/unsafe_votes": "votes are averaged over several rows of a pair",
    "few_rel/default": "wrong relations are made up by code",
    "docred": "relations point into nested lists of mentions and into a name table",
    "proto_qa/proto_qa": "parallel lists are sorted by count and cut",
    "weblinx/action": "actions and candidates are parsed out of a text by code",
    "weblinx/dom-element": "actions and candidates are parsed out of a text by code",
    "record/candidate": "candidates are compared with the answers after normalising both",
    "multidogo": "the dialogue so far has to be gathered over several rows",
    "wikisql/aggregation": "the table is rendered as JSON from parallel lists",
    "wikisql/column": "the table is rendered as JSON from parallel lists",
    "wikisql/operator": "the table is rendered as JSON from parallel lists",
    "quac/answerability": "parallel lists of questions and answers become a running dialogue",
    "hotpotqa/supporting-fact": "facts are pairs of title and sentence number in nested lists",
    "multiwoz22/dialogue-act": "frames and turns are nested parallel lists",
    "multiwoz22/categorical-slot": "frames and turns are nested parallel lists",
    "schema-guided/intent": "frames and turns are nested parallel lists",
    "coqa/yesno": "parallel lists of questions and answers become a running dialogue",
    "qasper/yesno": "answers are nested lists of annotations with an evidence check",
    "topv2/intent": "the target is computed, and the list of intents is not recorded",
    "maven-arg/role": "events are nested maps that are grouped",
    "maven/event": "events are nested maps that are grouped",
    "magpie/idiomatic": "the idiom is marked inside one element of a list",
    "preco/coreference": "pairs of mentions are sampled by code",
    "redial/preference": "two questionnaires are joined and ids are put into the text",
    "slurp/slot-type": "word spans become character spans",
    "topv2/slot-type": "a bracketed parse is read by code",
    "maven-ere/causal": "relations are pairs of word spans",
    "biored/relation": "relations are pairs of sets of mentions",
    "causal-reasoning/transitivity": "the graph is checked for circles",
    "fabsa/sentiment": "aspects that repeat inside a row are dropped",
    "prosocial-dialog/safety": "the dialogue so far has to be gathered over several rows",
    "faithdial/grounding": "the split depends on a hash over all rows of a dialogue",
    "procedural-choices": "options are filtered by a parallel list of scores",
}
"""Annotations that need code, by the beginning of the id, and why."""


@cache
def _recorded() -> dict[str, Any]:
    text = Path(__file__).with_name("hub_facts.json").read_text(encoding="utf-8")
    found: dict[str, Any] = json.loads(text)
    return found


def recorded(dataset: str, config: str | None) -> dict[str, Any]:
    """Return the recorded splits and class names of a config, or an empty map."""
    found: dict[str, Any] = _recorded().get(dataset, {}).get(config or "", {})
    return found


def starting(table: dict[str, Any], task_id: str) -> Any:  # noqa: ANN401 - values of any table
    """Return the entry for `task_id`, or for the longest part of it that ends at a slash."""
    fitting = [
        key
        for key in table
        if task_id == key
        or (task_id.startswith(key) and (key.endswith("/") or task_id[len(key)] == "/"))
    ]
    return table[max(fitting, key=len)] if fitting else None
