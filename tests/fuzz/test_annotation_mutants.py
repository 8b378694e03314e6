"""Damaged annotations: every one loads, or is refused with a place and no traceback."""

import copy
import json
import os
import random
import time

import pytest
import yaml

from pipeline import yaml_reader
from pipeline.annotations.check import check_golden, golden_values
from pipeline.annotations.patterns import matcher
from pipeline.annotations.schema import annotation_from
from pipeline.errors import PipelineError, PipelineErrors, SourceMark
from pipeline.yaml_reader import read_yaml

NUM_CASES = int(os.environ.get("TASKLOOM_FUZZ_CASES", "500"))
MAX_SECONDS = 0.1
"""Of processor time, which other work on the machine does not change."""

ENTITIES = """\
schema_version: 1
id: ncbi_disease
task: token_classification
source: {hub: ncbi/ncbi_disease, revision: refs/convert/parquet, licence: public-domain,
  commercial: "yes", language: en}
splits: {train: train, validation: validation, test: test}
rows:
  - where: {of: tokens, truthy: true}
fields: {tokens: tokens, target: {spans: ner_tags, tokens: tokens}}
labels: [O, B-Disease, I-Disease]
instruction: List every disease mentioned in the text.
settings: {scheme: bio}
golden:
  - row: {tokens: [Asthma, is, common], ner_tags: [1, 0, 0]}
    example:
      inputs: {tokens: [Asthma, is, common]}
      target: [{text: Asthma, type: Disease, start: 0, end: 1}]
verified: golden
"""

CHOICE = """\
schema_version: 1
id: arc/{config}
title: Science questions
task: multiple_choice
source:
  hub: allenai/ai2_arc
  config: [ARC-Challenge, ARC-Easy]
  licence: cc-by-sa-4.0
  commercial: "yes"
  language: [en]
splits:
  train: train
  validation: {take: 0.1, from: train, seed: 3}
  test: test
rows:
  - let: {letter: {clean: answerKey, steps: [strip, upper]}}
  - where: {all: [{of: letter, ne: ""}, {not: {of: question, null: true}}]}
  - unique: question
    conflict_of: answerKey
fields:
  question: {text: "{subject}: {q}", with: {q: {clean: question, steps: [{sub: ["\\\\s+", " "]}]}}}
  choices: choices.text
  target: {find: letter, in: choices.label, else: skip}
instruction: |
  Which answer
  is correct?
settings: {choice_order: hashed, max_choices: 4}
metrics: [accuracy]
cap: {train: 1000, seed: 1}
truncate: {input: question, side: left}
"""

DIALOGUE = """\
schema_version: 1
id: helpful/rating
task: classification
source: {files: {train: [a.jsonl, b.jsonl], test: c.jsonl}, format: jsonl, licence: mit,
  access: gated, how_to_get: Ask the owner.}
splits: {train: train, test: test}
rows:
  - explode: turns
    as: turn
    history: before
  - where: {any: [{of: turn.role, eq: user}, {of: turn.score, ge: 0.5}]}
  - {split_by: id, validation: 0.05, test: 0.1}
  - {cap_per: topic, max: 20}
  - {holdout: id}
fields:
  context: {join: {each: before, do: {text: "{item.role}: {item.content}"}}, sep: "\\n"}
  text: {first: [turn.content, turn.text]}
  target: {bin: turn.score, at: [0.25, 0.5], to: [bad, fair, good]}
labels: [bad, fair, good]
ordered: true
instruction: Rate the turn.
"""

CALLS = """\
schema_version: 1
id: tools/calls
task: function_calling
source: {hub: fairyshine/Seal-Tools, licence: apache-2.0, commercial: "yes", language: en}
splits: {train: validation, test: test_in_domain}
rows:
  - lookup: {as: library, file: tool.jsonl, key: api_name, of: "calling[*].api", distractors: 2}
fields:
  query: query
  functions:
    each: library
    do: {record: {name: item.api_name, description: item.api_description, parameters: item.args}}
  target:
    each: calling
    do: {record: {name: item.api, arguments: item.parameters}}
golden:
  - row: {query: "How deep?", calling: [{api: depth, parameters: {place: lake}}]}
    files: {tool.jsonl: [{api_name: depth, api_description: Depth., args: {type: object}}]}
    example:
      inputs:
        query: How deep?
        functions: [{name: depth, description: Depth., parameters: {type: object}}]
      target: [{name: depth, arguments: {place: lake}}]
  - row: {query: null, calling: []}
    files: {tool.jsonl: [{api_name: depth, api_description: Depth., args: {type: object}}]}
    skipped: true
"""

ORIGINALS = {"entities": ENTITIES, "choice": CHOICE, "dialogue": DIALOGUE, "calls": CALLS}

SURPRISES = [
    "null",
    "yes",
    "1:30",
    "2024-01-01",
    "-1",
    "1e400",
    "9" * 40,
    "true",
    "[]",
    "{}",
    "''",
    '"\\ud800"',
    '"\\U0011FFFF"',
    '"\\x00"',
    "!!python/object:os.system x",
    "!t y",
    "&a [*a]",
    "*b",
    "<<: {a: b}",
    "? [a, b]\n: c",
    "---",
    "...",
    "%YAML 9.9",
    "@x",
    "`x",
    "\t",
    "a: b: c",
    "[" * 200,
    "{a: " * 50,
    "- " * 60,
    "{x: {find: a}}",
    "{clean: a, steps: [{sub: ['(a+)+$', x]}]}",
    "{clean: a, steps: [{extract: '(' }]}",
    "{text: '{'}",
    "{text: '{a.__class__}'}",
    "{map: a, to: []}",
    "a[999999999]",
    "$target",
    "../../etc/passwd",
    "é\u202e\U0001f600",
]


def mutate(text: str, generator: random.Random) -> str:
    for _ in range(generator.choice([1, 1, 1, 2, 3, 6])):
        text = generator.choice(MUTATORS)(text, generator)
    return text


def flip_characters(text: str, generator: random.Random) -> str:
    letters = list(text)
    for _ in range(generator.randint(1, 5)):
        if letters:
            position = generator.randrange(len(letters))
            letters[position] = chr(
                generator.choice(
                    [generator.randrange(32, 127), generator.randrange(0x110000), 10, 9, 0x7F]
                )
            )
    return "".join(letters)


def delete_part(text: str, generator: random.Random) -> str:
    start = generator.randrange(len(text) + 1)
    return text[:start] + text[start + generator.choice([1, 2, 5, 20, 100]) :]


def repeat_line(text: str, generator: random.Random) -> str:
    lines = text.split("\n")
    position = generator.randrange(len(lines))
    return "\n".join([*lines[: position + 1], lines[position], *lines[position + 1 :]])


def swap_lines(text: str, generator: random.Random) -> str:
    lines = text.split("\n")
    first, second = generator.randrange(len(lines)), generator.randrange(len(lines))
    lines[first], lines[second] = lines[second], lines[first]
    return "\n".join(lines)


def insert_surprise(text: str, generator: random.Random) -> str:
    position = generator.randrange(len(text) + 1)
    return text[:position] + generator.choice(SURPRISES) + text[position:]


def replace_value(text: str, generator: random.Random) -> str:
    lines = text.split("\n")
    keyed = [i for i, line in enumerate(lines) if ": " in line]
    if not keyed:
        return text
    position = generator.choice(keyed)
    key = lines[position].split(": ")[0]
    lines[position] = f"{key}: {generator.choice(SURPRISES)}"
    return "\n".join(lines)


def change_indent(text: str, generator: random.Random) -> str:
    lines = text.split("\n")
    position = generator.randrange(len(lines))
    lines[position] = " " * generator.randint(0, 8) + lines[position].lstrip()
    return "\n".join(lines)


def grow(text: str, generator: random.Random) -> str:
    piece = generator.choice(["a", "[", "{", "- ", "a: ", "'", '"', "#", "\n", "é"])
    position = generator.randrange(len(text) + 1)
    return text[:position] + piece * generator.choice([10, 1000, 20_000]) + text[position:]


def splice(text: str, generator: random.Random) -> str:
    other = generator.choice(list(ORIGINALS.values()))
    return text[: generator.randrange(len(text) + 1)] + other[generator.randrange(len(other)) :]


ODD_VALUES = [
    None,
    True,
    0,
    -1,
    1.5,
    10**17,
    "",
    "text",
    "tokens[0].x",
    "$choices",
    "$nothing",
    "{config}",
    [],
    [[]],
    {},
    {"a": 1},
    {"const": None},
    {"each": "a", "do": "item"},
    {"find": "a", "in": "b", "else": "skip"},
    {"clean": "a", "steps": ["int", {"sub": ["[[a", "b"]}]},
    {"clean": "a", "steps": [{"each": ["strip"]}, {"slice": [0, None]}]},
    {"of": "a", "matches": "(?P<x>a)[[:bad:]]"},
    {"of": {"count": "a"}, "gt": {"value": "b"}},
    {"flags": {"a": "b"}},
    {"mark": "a", "spans": [{"name": "A", "start": "b", "text": "c"}]},
]


def restructure(text: str, generator: random.Random) -> str:
    """Change values and keys of a valid annotation, and write it down as JSON."""
    value = read_yaml(generator.choice(list(ORIGINALS.values()))).value
    for _ in range(generator.choice([1, 1, 2, 3, 8])):
        places = list(containers(value))
        holder = generator.choice(places)
        key = generator.choice(list(holder) if isinstance(holder, dict) else range(len(holder)))
        action = generator.randrange(4)
        if action == 0:
            holder[key] = copy.deepcopy(generator.choice(ODD_VALUES))
        elif action == 1:
            del holder[key]
        elif action == 2:
            other = generator.choice(places)
            donor = generator.choice(
                list(other.values()) if isinstance(other, dict) else list(other) or [None]
            )
            holder[key] = copy.deepcopy(donor)
        elif isinstance(holder, dict):
            holder[str(key) + generator.choice(["", "x", "s", "_"])] = holder.pop(key)
        value = value or {"id": "x"}
    return json.dumps(value, indent=1, ensure_ascii=False)


def containers(value):
    if isinstance(value, dict | list) and value:
        yield value
        for inner in value.values() if isinstance(value, dict) else value:
            yield from containers(inner)


MUTATORS = [
    *[restructure] * 10,
    flip_characters,
    flip_characters,
    delete_part,
    repeat_line,
    swap_lines,
    insert_surprise,
    insert_surprise,
    replace_value,
    replace_value,
    change_indent,
    grow,
    splice,
]


def load_and_run(text: str) -> list[PipelineError]:
    try:
        annotation = annotation_from(read_yaml(text, name="mutant.yaml"))
    except PipelineErrors as several:
        return list(several.errors)
    except PipelineError as error:
        return [error]
    annotation.spec()
    return check_golden(annotation, golden_values)


@pytest.mark.parametrize("name", ORIGINALS)
def test_originals_are_valid(name):
    assert load_and_run(ORIGINALS[name]) == []


def test_mutants_load_or_are_refused_with_a_place():
    generator = random.Random(20250203)
    # The regular expression engine is loaded once; that is no case's own time.
    matcher("a")("a")
    slowest, refused = 0.0, 0
    for case in range(NUM_CASES):
        text = mutate(generator.choice(list(ORIGINALS.values())), generator)
        started = time.process_time()
        try:
            errors = load_and_run(text)
        except Exception as error:
            raise AssertionError(f"case {case}: {error!r} from {text!r}") from error
        slowest = max(slowest, time.process_time() - started)
        refused += bool(errors)
        for error in errors:
            assert isinstance(error.where, SourceMark), (case, str(error), text)
            assert error.where.line >= 1
            assert error.where.column >= 1
            assert "\n" not in str(error)
    assert refused > NUM_CASES // 3
    assert slowest < MAX_SECONDS
    print(f"{NUM_CASES} cases, {refused} refused, slowest {slowest * 1000:.1f} ms")


def test_the_slower_parser_refuses_the_same_way(monkeypatch):
    monkeypatch.setattr(yaml_reader, "_EVENT_LOADER", yaml.SafeLoader)
    generator = random.Random(7)
    for _ in range(min(NUM_CASES, 100)):
        for error in load_and_run(mutate(ENTITIES, generator)):
            assert isinstance(error.where, SourceMark)
