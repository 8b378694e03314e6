"""One annotation from the facts of one catalogue entry."""

from __future__ import annotations

import re
from typing import Any

from scripts.general_catalogue import known
from scripts.general_catalogue.by_hand import BY_HAND
from scripts.general_catalogue.placing import place
from scripts.general_catalogue.translate import Untranslatable, expression, operations, path
from scripts.general_catalogue.wording import wording

Facts = dict[str, Any]
Annotation = dict[str, Any]

PAIR = {"sentence1": "text_a", "sentence2": "text_b"}
NUMBER_TARGETS = re.compile(
    r"oasst\d_dense_flat/|chaos-mnli-ambiguity$|stsb_multi_mt|acceptability-prediction$"
)
PLAIN_TAGS = re.compile(r"/pos|/deprel")
LABELLED = {"classification", "pair_classification", "multi_label", "token_classification"}
CLASS_NAMES = (
    "The class names recorded with the data are used; where it holds plain texts instead, "
    "they have to be listed under labels."
)
FROM_PUBLICATION = "The label names are those of the publication, not compared with the hub's copy."
FAMILY_TITLES = {
    "agreement": "Agreement of readers", "answer": "Answers to questions",
    "argument": "Arguments", "biomedical": "Biomedical text", "choice": "Multiple choice",
    "citation": "Citations", "code": "Program code", "commonsense": "Common sense",
    "contract": "Contracts", "dialogue": "Dialogue", "discourse": "Discourse",
    "emotion": "Emotion", "ethics": "Ethics", "fact": "Checking facts", "grading": "Grading",
    "grammar": "Grammar", "intent": "Intent", "language": "Language", "meaning": "Word meaning",
    "ner": "Named entities", "nli": "Entailment", "paraphrase": "Paraphrase",
    "preference": "Preferred reply", "question": "Questions", "rating": "Rated replies",
    "reasoning": "Reasoning", "relation": "Relations", "safety": "Safety", "search": "Search",
    "sentiment": "Sentiment", "similarity": "Similarity", "stance": "Stance", "style": "Style",
    "tags": "Word tags", "text": "Text classification", "topic": "Topic",
    "toxicity": "Toxic language", "web": "Web pages",
}  # fmt: skip


def annotate(facts: Facts) -> Annotation:
    """Return the annotation, without golden rows.

    Raises:
        Untranslatable: The facts hold something that has no counterpart.
    """
    task_id, configs, overrides = place(facts)
    hand = known.starting(BY_HAND, facts["id"][0]) or {}
    built = _built(facts, hand)
    kind, fields, labels = built["task"], built["fields"], built["labels"]
    family, instruction = wording(_first_id(facts, task_id), kind, labels)
    for config, text in _other_wordings(facts, task_id, built).items():
        overrides.setdefault(config, {})["instruction"] = text
    found: Annotation = {
        "schema_version": 1,
        "id": task_id,
        "title": f"{FAMILY_TITLES[family]} ({task_id})",
        "task": kind,
        "source": configs["source"],
        "splits": configs["splits"],
    }
    if built["rows"]:
        found["rows"] = built["rows"]
    found["fields"] = fields
    if labels is not None:
        found["labels"] = labels
    if built["ordered"] and kind == "classification":
        found["ordered"] = True
    if built["settings"]:
        found["settings"] = built["settings"]
    if "max_train_rows" in facts:
        found["cap"] = {"train": facts["max_train_rows"]}
    found["instruction"] = instruction
    for config, own in hand.get("per_config", {}).items():
        overrides[config] = {**overrides.get(config, {}), **own}
    if overrides:
        found["per_config"] = overrides
    found["verified"] = "unverified"
    notes = [configs["notes"]] if configs["notes"] else []
    if labels is None and kind in LABELLED and not PLAIN_TAGS.search(facts["id"][0]):
        notes.append(CLASS_NAMES)
    elif labels is not None and labels == known.starting(known.LABELS, facts["id"][0]):
        notes.append(FROM_PUBLICATION)
    if notes:
        found["notes"] = " ".join(notes)
    return found


def _first_id(facts: Facts, task_id: str) -> str:
    configs = facts.get("configs")
    first: str = facts["id"][0]
    return task_id.replace("{config}", configs[0]) if "{config}" in task_id and configs else first


def _other_wordings(facts: Facts, task_id: str, built: Facts) -> dict[str, str]:
    """Return the instructions of the configs that ask for something else than the first one."""
    if "{config}" not in task_id:
        return {}
    texts = {
        config: wording(task_id.replace("{config}", config), built["task"], built["labels"])[1]
        for config in facts["configs"]
    }
    base = texts[facts["configs"][0]]
    return {config: text for config, text in texts.items() if text != base}


def _built(facts: Facts, hand: Facts) -> dict[str, Any]:
    kind = facts["task_type"]
    builders = {
        "Classification": _classification,
        "MultipleChoice": _multiple_choice,
        "TokenClassification": _tokens,
        "SoftLabeling": _soft,
    }
    built: dict[str, Any] = {
        "rows": None,
        "labels": None,
        "settings": {},
        "ordered": bool(facts.get("ordinal")),
    }
    if "fields" in hand:
        built["task"], built["fields"] = _kind_of(facts, hand["fields"]), dict(hand["fields"])
        built["labels"] = hand.get("labels", _labels(facts, hand["fields"]["target"]))
        if built["task"] == "multiple_choice" and hand["fields"]["target"] == 0:
            built["settings"] = {"choice_order": "hashed"}
    else:
        built.update(builders[kind](facts, hand))
    built["rows"] = hand["rows"] + (built["rows"] or []) if "rows" in hand else built["rows"]
    if built["rows"] is None:
        built["rows"] = operations(facts)
    elif "rows" not in hand:
        built["rows"] = operations(facts) + built["rows"]
    for key in ("task", "labels", "ordered"):
        if key in hand:
            built[key] = hand[key]
    if built["task"] not in {
        "classification", "pair_classification", "multi_label", "token_classification",
    }:  # fmt: skip
        built["labels"] = None
    return built


def _kind_of(facts: Facts, fields: Facts) -> str:
    if "choices" in fields:
        return "multiple_choice"
    return "pair_classification" if "text_a" in fields else "classification"


def _texts(facts: Facts) -> Facts:
    fields = facts["fields"]
    if "sentence2" in fields:
        return {name: expression(fields[old]) for old, name in PAIR.items()}
    return {"text": expression(fields["sentence1"])}


def _classification(facts: Facts, hand: Facts) -> dict[str, Any]:
    fields = _texts(facts)
    raw = facts["fields"]["labels"]
    if NUMBER_TARGETS.match(facts["id"][0]):
        return _number(facts, {"minimum": 0.0, "maximum": 1.0})
    found: dict[str, Any] = {
        "task": "pair_classification" if len(fields) == 2 else "classification"
    }
    if "target" in hand:
        fields["target"] = hand["target"]
        found["labels"] = hand.get("labels")
    elif _is_table(raw):
        fields["target"] = (
            path(raw["map"]) if isinstance(raw["map"], str) else expression(raw["map"])
        )
        found["labels"] = _table(raw["to"])
    elif isinstance(raw, dict) and "text" in raw:
        # `{v0} out of 5`: the number is the raw value, the text its name.
        fields["target"] = expression(next(iter(raw["with"].values())))
        found["labels"] = {
            str(grade): raw["text"].replace("{v0}", str(grade)) for grade in range(1, 6)
        }
    else:
        fields["target"] = expression(raw)
        found["labels"] = _labels(facts, fields["target"])
    return {**found, "fields": fields}


def _is_table(raw: Any) -> bool:  # noqa: ANN401
    return (
        isinstance(raw, dict) and "map" in raw and "to" in raw and raw.get("else") in (None, "null")
    )


def _table(to: Any) -> Any:  # noqa: ANN401
    if isinstance(to, list) and len(set(to)) == len(to):
        return list(to)
    return {str(key): str(name) for key, name in to.items()}


def _labels(facts: Facts, target: Any) -> Any:  # noqa: ANN401
    """Return the labels that the facts, the target or the tables name; else `None`."""
    if facts.get("label_names"):
        names = facts["label_names"]
        if list(names) == [str(number) for number in range(len(names))]:
            return list(names.values())
        return dict(names.items())
    if isinstance(target, dict):
        if "bin" in target:
            return list(target["to"])
        results = list(_results(target))
        if results and all(isinstance(name, str) for name in results):
            return list(dict.fromkeys(results))
    if facts["id"][0] in known.LABELS or known.starting(known.LABELS, facts["id"][0]):
        return known.starting(known.LABELS, facts["id"][0])
    column = facts["fields"]["labels"]
    if not isinstance(column, str):
        return None
    configs = facts.get("configs") or [None]
    configs = [configs] if isinstance(configs, str) else configs
    names = [known.recorded(facts["dataset"], config).get("names", {}) for config in configs]
    lists = [entry.get(column) for entry in names]
    if not lists or lists[0] is None or any(entry != lists[0] for entry in lists):
        return None
    recorded = list(lists[0])
    if facts["id"][0].startswith("lex_glue/unfair"):
        recorded.append("fair clause")
    return recorded


def _results(value: Any) -> Any:  # noqa: ANN401
    """Yield the constants that an expression may give."""
    if isinstance(value, dict):
        if "const" in value:
            yield value["const"]
        elif "if" in value:
            yield from _results(value["then"])
            yield from _results(value.get("else"))
        elif "map" in value and isinstance(value["to"], dict) and "else" in value:
            yield from value["to"].values()
            yield from _results(value["else"])
    elif value is not None:
        yield None


def _multiple_choice(facts: Facts, hand: Facts) -> dict[str, Any]:
    given = facts["fields"]
    choices = given.get("choices_list", given.get("choices"))
    target = _gold(given["labels"], facts["id"][0])
    settings = {"choice_order": "hashed"} if target == 0 else {}
    fields = {
        "question": expression(given["inputs"]),
        "choices": expression(choices),
        "target": target,
    }
    return {"task": "multiple_choice", "fields": fields, "settings": settings}


LETTERED = {"openbookqa": "choices.label", "quartz": "choices.label"}
DIGITS_FROM = {"winogrande": 1, "hellaswag": 0, "social_i_qa": 0}


def _gold(raw: Any, task_id: str) -> Any:  # noqa: ANN401
    """Return the expression of the right position, safe where the source has letters or digits."""
    letters = known.starting(LETTERED, task_id)
    if letters:
        return {"find": path(raw), "in": letters}
    if task_id.startswith("winogrande"):
        return {"find": path(raw), "in": {"const": ["1", "2"]}}
    if task_id.startswith("cicero"):
        return "Human Written Answer[0]"
    if task_id.split("/")[0] in {"hellaswag", "social_i_qa"}:
        return {"clean": path(raw), "steps": ["int"]}
    if isinstance(raw, dict) and "map" in raw:
        return {"map": expression(raw["map"]), "to": raw["to"]}
    return expression(raw)


def _tokens(facts: Facts, hand: Facts) -> dict[str, Any]:
    task_id = facts["id"][0]
    labels = hand.get("labels", _labels(facts, None))
    tags = path(facts["fields"]["labels"])
    fields: Facts
    if PLAIN_TAGS.search(task_id):
        fields = {"tokens": "tokens", "target": tags}
        settings = {"scheme": "plain"}
    else:
        target: Facts = {"spans": tags, "tokens": "tokens"}
        if task_id.startswith("few-nerd"):
            target["scheme"] = "io"
        fields, settings = {"tokens": "tokens", "target": target}, {}
    return {
        "task": "token_classification",
        "fields": fields,
        "labels": labels,
        "settings": settings,
    }


def _number(facts: Facts, settings: Facts) -> dict[str, Any]:
    texts = _texts(facts)
    fields = {"text_a": texts.get("text", texts.get("text_a"))}
    if "text_b" in texts:
        fields["text_b"] = texts["text_b"]
    fields["target"] = expression(facts["fields"]["labels"])
    return {"task": "regression", "fields": fields, "settings": settings}


def _soft(facts: Facts, hand: Facts) -> dict[str, Any]:
    """A number where raters give one, otherwise the label that most of them chose."""
    soft, given = facts["soft"], facts["fields"]
    if "task" in hand:
        fields = {**_texts(facts), "target": hand.get("target")}
        return {"task": hand["task"], "fields": fields, "labels": hand.get("labels")}
    if soft["kind"] == "noul" or soft["aggregation"] == "mean":
        return _number(facts, {"minimum": float(soft["low"]), "maximum": float(soft["high"])})
    options = [str(option) for option in given["options"]["const"]]
    votes = given["labels"]
    rows: list[Any] = []
    if facts["id"][0].startswith("dynasent"):
        votes = "votes"
    elif isinstance(votes, list):
        rows.append({"let": {"votes": expression(votes)}})
        votes = "votes"
    elif not isinstance(votes, str):
        raise Untranslatable("soft labels that are computed")
    column = path(votes)
    if soft.get("hard"):
        most: list[Any] = [{"of": "item", "ge": soft["hard"]}]
    else:
        most = [{"of": "item", "ge": {"value": f"{column}[{i}]"}} for i in range(len(options))]
    rows.append({"let": {"top": {"each": column, "do": "index", "where": {"all": most}}}})
    rows.append({"where": {"of": {"count": "top"}, "eq": 1}})
    texts = _texts(facts)
    return {
        "task": "pair_classification" if len(texts) == 2 else "classification",
        "fields": {**texts, "target": "top[0]"},
        # A position that also spells another option would be refused.
        "labels": dict(enumerate(options)) if any(map(str.isdecimal, options)) else options,
        "ordered": soft["kind"] == "score",
        "rows": rows,
    }
