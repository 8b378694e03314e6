"""Specs of BFCL are shown with the hints of the official generation."""

from __future__ import annotations

import copy
import hashlib
import json
import os
from pathlib import Path

import pytest

from eval.bfcl.categories import SCORED_CATEGORIES
from pipeline.errors import ParseError
from pipeline.functions.bfcl_hints import with_language_hints
from pipeline.templates.bfcl import prompting_mode

ROOT = Path(__file__).resolve().parents[3]
MIRROR = Path(os.environ.get("TASKLOOM_DATA_ROOT") or ROOT.parent / "shared" / "data")
BFCL = MIRROR / "gorilla-llm" / "Berkeley-Function-Calling-Leaderboard"
OFFICIAL_SHA256 = "d5ed5dbbc7451154330ed435452e8790099f2da38d391875cf87904fe547b74c"
"""Of the default system prompts of all rows, made by bfcl-eval 2026.3.23 itself."""


def spec(**properties):
    schema = {"type": "dict", "properties": properties, "required": []}
    return [{"name": "f", "description": "Does it.", "parameters": schema}]


def test_python_functions_are_only_told_to_be_python():
    given = spec(a={"type": "integer", "description": "One."})
    before = copy.deepcopy(given)
    (shown,) = with_language_hints(given, "live_simple")
    assert shown["description"].endswith(" in Python 3 syntax.")
    assert shown["parameters"] == before[0]["parameters"]
    assert given == before


def test_java_parameters_become_texts_that_tell_their_type():
    given = spec(
        a={"type": "long", "description": "One."},
        b={"type": "ArrayList", "description": "Two.", "items": {"type": "String"}},
        c={"type": "any", "description": "Three."},
    )
    (shown,) = with_language_hints(given, "simple_java")
    found = shown["parameters"]["properties"]
    assert all(item["type"] == "string" and "items" not in item for item in found.values())
    assert "Java long type" in found["a"]["description"]
    assert "elements are of type String" in found["b"]["description"]
    assert "any type of Java object" in found["c"]["description"]


def test_members_of_javascript_dictionaries_are_told_in_words():
    members = {"x": {"type": "integer"}}
    given = spec(a={"type": "dict", "description": "One.", "properties": members})
    (shown,) = with_language_hints(given, "simple_javascript")
    item = shown["parameters"]["properties"]["a"]
    assert item["description"].endswith(json.dumps(members))
    assert "properties" not in item


@pytest.mark.parametrize("given", [None, [3], [{"name": "f"}]])
def test_a_spec_of_another_form_is_refused(given):
    with pytest.raises(ParseError) as caught:
        with_language_hints(given, "simple_java")
    assert caught.value.code == "FUN606"


@pytest.mark.real_data
@pytest.mark.skipif(not BFCL.is_dir(), reason=f"no mirror of public data at {MIRROR}")
def test_prompts_of_all_rows_are_the_official_ones():
    digest = hashlib.sha256()
    for category in SCORED_CATEGORIES:
        text = (BFCL / f"BFCL_v4_{category}.json").read_text(encoding="utf-8")
        for line in text.splitlines():
            if line.strip():
                shown = with_language_hints(json.loads(line)["function"], category)
                digest.update(prompting_mode(shown).encode())
    assert digest.hexdigest() == OFFICIAL_SHA256
