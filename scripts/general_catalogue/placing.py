"""Id, source, splits and configs of an annotation."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import unquote

from scripts.general_catalogue import known

Facts = dict[str, Any]

_HUB_FILE = re.compile(r"hf://datasets/([^/@]+/[^/@]+)(?:@([^/]+))?/(.+)")
_LICENCES = {
    "cc by": "cc-by", "apache license 2.0": "apache-2.0", "mit license": "mit",
    "cc0 1.0": "cc0-1.0", "non commercial": "non-commercial", "bsd 2-clause license":
    "bsd-2-clause", "no license": "", "custom": "custom", "request form": "", "openai": "",
    "various": "", "unspecified": "", "unknown": "", "academic research purposes only":
    "research-only",
}  # fmt: skip
_USE = {"commercial": "yes", "non-commercial": "no", "unspecified": "unknown"}
MAX_LANGUAGES = 40
_CUT = {"take": 0.1, "from": "train"}


def place(facts: Facts) -> tuple[str, Facts, Facts]:
    """Return the id, what stands under `source`, `splits` and `notes`, and `per_config`."""
    configs = facts.get("configs")
    several = isinstance(configs, list) and len(configs) > 1
    source = _source(facts, several)
    splits, notes = _splits(facts, facts["id"][0], _first_config(facts))
    task_id: str = facts["id"][0]
    overrides: Facts = {}
    if several:
        task_id, overrides = _several(facts)
    languages = _languages(facts)
    if languages:
        source["language"] = languages[0] if len(languages) == 1 else languages
    if facts["dataset"] in known.GATED:
        source["access"] = "gated"
        source["how_to_get"] = known.GATED[facts["dataset"]]
    return spelled(task_id), {"source": source, "splits": splits, "notes": notes}, overrides


def spelled(task_id: str) -> str:
    """Return `task_id` with the letters that an id may hold."""
    return re.sub(r"[^A-Za-z0-9_.{}/\-]+", "-", task_id.replace("&", "").replace("+", "")).strip(
        "-"
    )


def licence(text: str) -> str:
    """Return the licences of the facts in one line, `unknown` when they name none."""
    found: dict[str, None] = {}
    for part in text.split(","):
        name = re.sub(r"\((DPI|original source)\)", "", part).strip().lower()
        if re.fullmatch(r"cc by[a-z\- ]* \d\.\d", name):
            name = name.replace(" ", "-")
        name = _LICENCES.get(name, name)
        if name and name != "other":
            found[name] = None
    if not found:
        return "other" if "other" in text else "unknown"
    return " and ".join(found)


def _first_config(facts: Facts) -> str | None:
    configs = facts.get("configs")
    if isinstance(configs, list):
        return configs[0] if configs else None
    return configs


def _source(facts: Facts, several: bool) -> Facts:
    load = dict(facts.get("load") or {})
    configs = facts.get("configs")
    config = configs if several else _first_config(facts)
    found: Facts = {}
    files = load.pop("data_files", None)
    revision = load.pop("revision", None)
    if "/" in facts["dataset"]:
        found["hub"] = facts["dataset"]
        if files:
            found["data_files"] = files
    else:
        revision = _files(found, files, several) or revision
        config = configs if several else None
    if load.pop("name", None) == "default" and not several:
        # The parquet copy of a pinned revision has one folder per config.
        load["data_dir"] = load.get("data_dir", "").replace("{config_name}", str(config))
        config = None
    if files and not several:
        config = None
    if config:
        found["config"] = config
    if revision:
        found["revision"] = revision
    for key in ("data_dir", "delimiter", "column_names"):
        if key in load:
            value = load[key]
            found[key] = value.replace("{config_name}", "{config}") if key == "data_dir" else value
    found["licence"] = licence(facts["license"])
    found["commercial"] = _USE[facts["license_use"]]
    return found


def _files(found: Facts, files: Facts, several: bool) -> str | None:
    """Put hub files under `hub` and `data_files`, other addresses under `files`."""
    revision = None
    entries: Facts = {}
    for split, names in files.items():
        short = []
        for name in names if isinstance(names, list) else [names]:
            match = _HUB_FILE.fullmatch(name.replace("{config_name}", "{config}"))
            if match is None:
                short.append(name)
                continue
            found["hub"] = match[1]
            revision = unquote(match[2]) if match[2] else revision
            short.append(match[3])
        entries[split] = short if isinstance(names, list) else short[0]
    found["data_files" if "hub" in found else "files"] = entries
    return revision


def _splits(facts: Facts, task_id: str, config: str | None) -> tuple[Facts, str | None]:
    own = known.starting(known.OWN_SPLITS, task_id)
    if own:
        return own, None
    if facts["splits"] != "default":
        found = {split: name for split, name in facts["splits"].items() if name}
        return _with_cut(found), None
    files = (facts.get("load") or {}).get("data_files")
    names = tuple(files or ()) or tuple(known.recorded(facts["dataset"], config).get("splits", ()))
    names = names or known.SPLITS.get(facts["dataset"], ())
    if not names and facts["dataset"].startswith("universal-dep"):
        names = ("test",)
    if not names and not facts["complete_splits"]:
        names = known.ALL
    if not names:
        note = "Only the split train is known for certain, so validation is cut from it."
        return _with_cut({"train": "train"}), note
    found = {split: split for split in known.ALL if split in names}
    if known.starting(dict.fromkeys(known.HIDDEN_TEST, True), task_id) and task_id != "reclor":
        found.pop("test", None)
    return _with_cut(found), None


def _with_cut(found: Facts) -> Facts:
    """Cut a validation split out of train where the source has none."""
    if "train" in found and "validation" not in found:
        return {
            split: _CUT | {"from": found["train"]} if split == "validation" else found[split]
            for split in known.ALL
            if split in found or split == "validation"
        }
    return found


def _several(facts: Facts) -> tuple[str, Facts]:
    """Return the id with `{config}`, and what each config has of its own."""
    ids, configs = facts["id"], facts["configs"]
    template = _template(ids, configs)
    overrides: Facts = {}
    column = facts["fields"]["labels"]
    entries = [known.recorded(facts["dataset"], config) for config in configs]
    named = [(e.get("names") or {}).get(column if isinstance(column, str) else "") for e in entries]
    splits = [_splits(facts, ids[0], config)[0] for config in configs]
    for config, names, own_splits in zip(configs, named, splits, strict=True):
        own: Facts = {}
        if not re.fullmatch(r"[A-Za-z0-9_.\-]+", config):
            own["id"] = (
                spelled(template.replace("{config}", config)).replace("(", "").replace(")", "")
            )
        if names and any(other != named[0] for other in named):
            own["labels"] = names
        if own_splits != splits[0]:
            own["splits"] = own_splits
        if own:
            overrides[config] = own
    return template, overrides


def _template(ids: list[str], configs: list[str]) -> str:
    for config in sorted(configs, key=len, reverse=True):
        for task_id in ids:
            if config in re.split(r"/", task_id):
                parts = ["{config}" if part == config else part for part in task_id.split("/")]
                template = "/".join(parts)
                if {template.replace("{config}", c) for c in configs} >= set(ids):
                    return template
    for config in configs:
        for task_id in ids:
            template = task_id.replace(config, "{config}")
            if {template.replace("{config}", c) for c in configs} >= set(ids):
                return template
    raise ValueError(f"no common form of {ids[:3]}")


def _config_language(facts: Facts, config: str) -> str | None:
    if facts["catalog"] == "english":
        return None
    if config in known.CONFIG_LANGUAGES:
        return known.CONFIG_LANGUAGES[config]
    match = re.match(r"X-C[A-Z]+-([a-z]{2})$|([a-z]{2,3})(?:[._]|$)", config)
    return (match[1] or match[2]) if match else None


def _languages(facts: Facts) -> list[str]:
    if facts["catalog"] == "english":
        return (
            list(known.starting(known.LANGUAGES, facts["id"][0]) or ["en"])
            if (facts["id"][0] == "language-identification")
            else ["en"]
        )
    found = known.starting(known.LANGUAGES, facts["id"][0])
    if found:
        return list(found)
    configs = facts.get("configs")
    codes = [_config_language(facts, c) for c in (configs if isinstance(configs, list) else [])]
    known_codes = list(dict.fromkeys(code for code in codes if code))
    # A list of nearly all languages would say nothing about any one config.
    return known_codes if len(known_codes) <= MAX_LANGUAGES else []
