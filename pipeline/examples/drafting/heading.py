"""The upper part of a draft: id, title, source, licence and language."""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path
from typing import Any

from pipeline.examples.drafting.guess import Guess
from pipeline.examples.drafting.survey import Survey

ALLOWS_ROWS = (
    "cc0-1.0",
    "cc-by-2.0",
    "cc-by-3.0",
    "cc-by-4.0",
    "cc-by-sa-3.0",
    "cc-by-sa-4.0",
    "mit",
    "apache-2.0",
    "bsd-2-clause",
    "bsd-3-clause",
    "odc-by",
    "pddl",
    "unlicense",
    "public-domain",
    "afl-3.0",
    "cdla-permissive-2.0",
)
"""Licences under which a few rows may be shown elsewhere with their source named."""
_COMMERCIAL = (*ALLOWS_ROWS, "gpl-3.0", "odbl", "cdla-sharing-1.0", "cdla-permissive-1.0")
_LANGUAGE = re.compile(r"[a-z]{2,3}(-[A-Za-z0-9]{2,8})*")


def propose_id(survey: Survey, out: Path, taken: Collection[str]) -> str:
    """Return an id that is not taken: the dataset's name, if need be with its owner or a number."""
    owner, _, name = (survey.hub or out.stem).rpartition("/")
    config = f"/{_clean(survey.config)}" if survey.config else ""
    candidates = [f"{_clean(name)}{config}", f"{_clean(owner or 'own')}/{_clean(name)}{config}"]
    candidates += [f"{candidates[0]}_{number}" for number in range(2, len(taken) + 3)]
    return next(candidate for candidate in candidates if candidate not in taken)


def _clean(name: str) -> str:
    kept = re.sub(r"[^A-Za-z0-9_.\-]+", "_", name)[:50].lstrip("-.")
    return kept or "task"


def heading(survey: Survey, guess: Guess) -> dict[str, Any]:
    """Return title, task and source; what is doubtful is noted in the guess."""
    name = survey.facts.title or (survey.hub or "").rpartition("/")[2]
    title = f"{name} ({survey.config})" if name and survey.config else name
    found: dict[str, Any] = {"title": title[:200]} if title else {}
    found["task"] = guess.kind
    found["source"] = {**_where(survey, guess), **_rights(survey, guess)}
    if guess.kind == "dna_classification":
        found["source"]["modality"] = "dna"
    return found


def _where(survey: Survey, guess: Guess) -> dict[str, Any]:
    if survey.hub is None:
        return {
            "files": {
                split: names[0] if len(names) == 1 else names
                for split, names in survey.files.items()
                if split in survey.splits
            }
        }
    source: dict[str, Any] = {"hub": survey.hub}
    if survey.config is not None:
        source["config"] = survey.config
        if survey.other_configs:
            others = ", ".join(survey.other_configs[:12])
            more = ", ..." if len(survey.other_configs) > 12 else ""
            guess.doubt("source", f"other configs: {others}{more}")
    if survey.revision is not None:
        source["revision"] = survey.revision
    else:
        guess.doubt(
            "source", "read from a local copy, so `revision:` is not pinned; name the commit"
        )
    return source


def _rights(survey: Survey, guess: Guess) -> dict[str, Any]:
    licence = (survey.facts.licence or "unknown").lower()
    if licence in {"other", "unknown", "none"}:
        said = f"says {licence!r}" if survey.facts.licence else "names no licence"
        guess.doubt("source", f"the card {said}: find the licence before you train on the data")
        licence = "unknown"
    rights: dict[str, Any] = {"licence": licence, "commercial": commercial_use(licence)}
    languages = [code for code in survey.facts.languages if _LANGUAGE.fullmatch(code)]
    if languages:
        rights["language"] = languages[0] if len(languages) == 1 else languages
    elif guess.kind != "dna_classification":
        guess.doubt("source", "the card names no language; add it, such as `language: en`")
    if survey.is_gated:
        rights["access"] = "gated"
        rights["how_to_get"] = "Accept the terms on the dataset's hub page and log in."
    return rights


def commercial_use(licence: str) -> str:
    """Return whether a licence allows commercial use: `yes`, `no` or `unknown`."""
    if re.search(r"(^|-)nc(-|$)|non-?commercial", licence):
        return "no"
    return "yes" if licence in _COMMERCIAL else "unknown"
