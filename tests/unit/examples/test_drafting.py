"""Drafts of invented data sets of every shape: the kind, the labels, and that each one runs."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from pipeline.annotations.check import check_files
from pipeline.annotations.schema import load_annotation
from pipeline.errors import SourceError
from pipeline.examples import load_examples
from pipeline.examples.drafting import draft_annotation
from pipeline.examples.drafting.guess import names_in_text
from pipeline.examples.drafting.kinds import RULES
from pipeline.examples.drafting.survey import assign_splits, survey_files, survey_hub
from pipeline.examples.drafting.yaml_text import write_yaml
from pipeline.examples.registered import REGISTERED_FUNCTIONS
from pipeline.yaml_reader import read_yaml
from tests.fixtures.loopback_hub import COMMIT, FILES, loopback_hub

WORDS = ["lamp", "boat", "table", "harbour", "letter", "garden", "winter", "copper", "window"]


def sentence(number: int, length: int = 9) -> str:
    rng = random.Random(number)
    return " ".join(rng.choice(WORDS) for _ in range(length)) + f" {number}."


def call(number: int) -> dict:
    return {"name": f"get_{WORDS[number % 5]}", "arguments": {"city": WORDS[number % 7]}}


def spec(number: int) -> dict:
    return {
        "name": f"get_{WORDS[number % 5]}",
        "description": "Tells it.",
        "parameters": {"city": {"type": "str", "description": "A city."}},
    }


def talk(number: int, who: str, said: str, names: tuple[str, str]) -> list[dict]:
    return [{who: names[turn % 2], said: sentence(number + turn)} for turn in range(4)]


SHAPES = {
    "classification": lambda n: {"text": sentence(n), "label": ("dull", "bright")[n % 2]},
    "classification by intent": lambda n: {"utterance": sentence(n), "intent": f"i{n % 7}"},
    "classification of numbers": lambda n: {"review": sentence(n), "stars": n % 5 + 1},
    "classification with a question": lambda n: {
        "question": sentence(n),
        "context": {"contexts": [sentence(n + 1), sentence(n + 2)], "labels": ["A", "B"]},
        "long_answer": sentence(n + 3),
        "final_decision": ("yes", "no", "maybe")[n % 3],
    },
    "pair_classification": lambda n: {
        "premise": sentence(n),
        "hypothesis": sentence(n + 1),
        "label": n % 3,
    },
    "pair_classification of other names": lambda n: {
        "pid": str(n),
        "value": ("true", "false")[n % 2],
        "chq": sentence(n),
        "faq": sentence(n + 1),
    },
    "multi_label": lambda n: {"text": sentence(n), "topics": [f"t{n % 4}", f"t{n % 3}"][: n % 3]},
    "regression": lambda n: {"text_1": sentence(n), "text_2": sentence(n + 1), "score": n / 7},
    "regression as text": lambda n: {"text": sentence(n), "label": f"{n % 9 / 2}"},
    "dna_classification": lambda n: {
        "seq": "".join(random.Random(n).choice("ACGT") for _ in range(30)),
        "label": n % 2,
    },
    "token_classification": lambda n: {
        "tokens": sentence(n).split(),
        "ner_tags": [("O", "B-Thing", "I-Thing")[(n + i) % 3] for i in range(10)],
    },
    "token_classification of plain tags": lambda n: {
        "words": sentence(n).split(),
        "pos": [("NOUN", "VERB")[(n + i) % 2] for i in range(10)],
    },
    "multiple_choice": lambda n: {
        "goal": sentence(n),
        "sol1": sentence(n + 1),
        "sol2": sentence(n + 2),
        "label": n % 2,
    },
    "multiple_choice by letter": lambda n: {
        "question": sentence(n),
        "choices": {"text": WORDS[:4], "label": ["A", "B", "C", "D"]},
        "answerKey": "ABCD"[n % 4],
    },
    "multiple_choice counted from 1": lambda n: {
        "question": sentence(n),
        "options": WORDS[:3],
        "answer": n % 3 + 1,
    },
    "multiple_choice by text": lambda n: {
        "question": sentence(n),
        "options": WORDS[:3],
        "answer": WORDS[n % 3],
    },
    "extractive_qa": lambda n: {
        "context": sentence(n, 30),
        "question": sentence(n + 1),
        "answers": {"text": [sentence(n, 30)[:12]], "answer_start": [0]},
    },
    "relation": lambda n: {
        "sentence": sentence(n),
        "e1": WORDS[n % 5],
        "e2": WORDS[n % 3],
        "relation": ("holds", "part of")[n % 2],
    },
    "relation of passages": lambda n: {
        "passages": [{"id": "p", "type": "t", "text": [sentence(n)], "offsets": [[0, 9]]}],
        "entities": [
            {"id": f"T{i}", "type": "thing", "text": [WORDS[i]], "offsets": [[0, 4]]}
            for i in range(3)
        ],
        "relations": [{"id": "R", "type": f"r{n % 2}", "arg1_id": "T0", "arg2_id": "T1"}],
    },
    "chat": lambda n: {"conversations": talk(n, "from", "value", ("human", "gpt"))},
    "chat of a system": lambda n: {"turns": talk(n, "speaker", "utterance", ("USER", "SYSTEM"))},
    "function_calling": lambda n: {"query": sentence(n), "tools": [spec(n)], "answers": [call(n)]},
    "function_calling in text": lambda n: {
        "input": sentence(n),
        "output": json.dumps([call(n)]),
        "tools": json.dumps([spec(n), spec(n + 1)]),
    },
    "function_calling without functions": lambda n: {
        "text": sentence(n),
        "APIs": [{"API": "play", "Parameters": {"song": [WORDS[n % 3]]}}],
    },
    "text": lambda n: {"question": sentence(n), "answer": sentence(n + 1, 20)},
    "records": lambda n: {
        "api_list": [{"tool": WORDS[n % 3], "price": n}],
        "query": sentence(n),
        "relevant": [[WORDS[n % 3], str(n)]],
    },
}


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TASKLOOM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


@pytest.fixture
def mirror(tmp_path):
    """Write splits of a dataset; returns the mirror's folder."""

    def write(splits, card="---\nlicense: mit\nlanguage: [en]\n---\n", folder="owner/name"):
        root = tmp_path / "mirror"
        target = root / folder
        target.mkdir(parents=True, exist_ok=True)
        for split, rows in splits.items():
            path = target / f"{split}.jsonl"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        if card:
            (target / "README.md").write_text(card, encoding="utf-8")
        return root

    return write


def draft_of(root: Path, out: Path, *, config: str | None = None, **options):
    survey = survey_hub("owner/name", config, root)
    draft = draft_annotation(survey, out, data_root=root, **options)
    out.write_text(draft.text, encoding="utf-8")
    errors = check_files([out], functions=REGISTERED_FUNCTIONS)
    assert not errors, errors
    return draft


@pytest.mark.parametrize("shape", SHAPES)
def test_the_kind_is_guessed_and_the_draft_runs_on_every_row(shape, mirror, tmp_path):
    make = SHAPES[shape]
    root = mirror({"train": map(make, range(60)), "test": map(make, range(60, 90))})
    draft = draft_of(root, tmp_path / "task.yaml")
    assert draft.guess.kind == shape.split()[0]
    assert draft.error is None
    assert draft.annotation.verified == "rows"
    assert len(draft.annotation.golden) >= 1
    annotation = load_annotation(tmp_path / "task.yaml")
    assert [report.num_rows for report in draft.reports] == [60, 30]
    assert len(load_examples(annotation, "train", data_root=root)) >= 30


def test_every_kind_that_can_be_drafted_has_a_shape_here():
    assert {shape.split()[0] for shape in SHAPES} == set(RULES)


def test_no_golden_row_holds_text_of_the_data(mirror, tmp_path):
    rows = [SHAPES["classification"](n) for n in range(40)]
    draft = draft_of(mirror({"train": rows}), tmp_path / "task.yaml")
    texts = {row["text"] for row in rows}
    assert not any(text in draft.text for text in texts)


def test_golden_rows_of_the_data_are_short_rows_with_different_answers(mirror, tmp_path):
    rows = [SHAPES["classification"](n) | {"secret": "x" * 50} for n in range(40)]
    draft = draft_of(mirror({"train": rows}), tmp_path / "task.yaml", with_real_golden=True)
    shown = [golden.row for golden in draft.annotation.golden]
    known = [{"text": row["text"], "label": row["label"]} for row in rows]
    assert len(shown) == 2
    assert all(row in known for row in shown)
    assert {row["label"] for row in shown} == {"dull", "bright"}
    assert "rows of the data themselves (mit)" in draft.text


def test_labels_are_looked_up_in_all_rows_of_all_splits(mirror, tmp_path):
    rows = [{"text": sentence(n), "label": "a" if n < 99 else "b"} for n in range(100)]
    root = mirror({"train": rows, "test": [{"text": sentence(200), "label": "only in test"}]})
    draft = draft_of(root, tmp_path / "task.yaml")
    assert draft.annotation.labels == ["a", "b", "only in test"]


def test_recorded_class_names_become_the_labels(mirror, tmp_path):
    card = (
        "---\nlicense: cc-by-4.0\npretty_name: Moods\ndataset_info:\n  features:\n"
        "  - name: text\n    dtype: string\n  - name: label\n    dtype:\n      class_label:\n"
        "        names:\n          '0': 'no'\n          '1': 'yes: or so'\n---\n"
    )
    root = mirror({"train": [{"text": sentence(n), "label": n % 2} for n in range(9)]}, card)
    draft = draft_of(root, tmp_path / "task.yaml")
    assert draft.annotation.labels == ["no", "yes: or so"]
    assert draft.annotation.title == "Moods"
    assert draft.annotation.source.licence == "cc-by-4.0"
    assert draft.annotation.source.commercial == "yes"


@pytest.mark.parametrize(
    ("label", "wanted"),
    [
        *((word, word) for word in ("no", "true", "- x", "a: b", "#1", "{x}", '"', "null", "1e3")),
        ("", "none"),
        ("é\u00a0", "é"),
    ],
)
def test_labels_that_yaml_could_take_for_something_else_survive(label, wanted, mirror, tmp_path):
    rows = [{"text": sentence(n), "label": ("plain", label)[n % 2]} for n in range(40)]
    draft = draft_of(mirror({"train": rows}), tmp_path / "task.yaml")
    assert draft.error is None
    annotation = load_annotation(tmp_path / "task.yaml")
    examples = load_examples(annotation, "train", data_root=tmp_path / "mirror")
    assert {example.target for example in examples} == {"plain", wanted}


def test_a_split_whose_labels_are_hidden_is_left_out(mirror, tmp_path):
    make = SHAPES["multiple_choice"]
    hidden = [make(n) | {"label": -1} for n in range(20)]
    root = mirror({"train": map(make, range(40)), "test": hidden})
    draft = draft_of(root, tmp_path / "task.yaml")
    assert draft.annotation.splits.present() == ("train",)
    assert "test is left out: its labels are hidden" in draft.text


def test_rows_without_a_given_label_are_left_out_by_a_condition(mirror, tmp_path):
    rows = [
        {"premise": sentence(n), "hypothesis": sentence(n + 1), "label": n % 4 - 1}
        for n in range(40)
    ]
    draft = draft_of(mirror({"train": rows}), tmp_path / "task.yaml")
    assert draft.reports[0].num_available == 30
    assert "ne: -1" in draft.text


def test_columns_that_no_field_reads_are_named(mirror, tmp_path):
    rows = [SHAPES["classification"](n) | {"hint": f"see {n}"} for n in range(40)]
    assert (
        "columns that are not read: hint\n"
        in draft_of(mirror({"train": rows}), tmp_path / "task.yaml").text
    )
    plain = mirror({"train": map(SHAPES["classification"], range(40))})
    assert "not read" not in draft_of(plain, tmp_path / "other.yaml").text


def test_the_user_can_ask_for_another_kind(mirror, tmp_path):
    root = mirror({"train": map(SHAPES["classification"], range(40))})
    assert draft_of(root, tmp_path / "task.yaml").others == ["text"]
    assert draft_of(root, tmp_path / "task.yaml", kind="text").guess.kind == "text"


def test_a_kind_that_fails_on_the_rows_gives_way_to_the_next(mirror, tmp_path):
    """Positions that run out of the options stop multiple choice, late in the file."""
    make = SHAPES["multiple_choice"]
    rows = [make(n) for n in range(500)] + [make(1) | {"label": 7}]
    draft = draft_of(mirror({"train": rows}), tmp_path / "task.yaml")
    assert draft.error is None
    assert draft.guess.kind != "multiple_choice"


def test_a_draft_that_cannot_run_says_why_and_is_not_called_verified(mirror, tmp_path):
    make = SHAPES["multiple_choice"]
    rows = [make(n) for n in range(500)] + [make(1) | {"label": 7}]
    draft = draft_of(mirror({"train": rows}), tmp_path / "task.yaml", kind="multiple_choice")
    assert draft.error is not None
    assert draft.annotation.verified == "golden"
    assert "did not run on the rows" in draft.text


def test_generated_rows_do_not_count_as_rows_of_the_dataset(mirror, tmp_path):
    root = mirror({"train": map(SHAPES["classification"], range(40))})
    draft = draft_of(root, tmp_path / "task.yaml", is_real=False)
    assert draft.annotation.verified == "golden"


def test_ids_that_are_taken_are_not_proposed_again(mirror, tmp_path):
    root = mirror({"train": map(SHAPES["classification"], range(40))})
    ids = []
    for _ in range(4):
        ids.append(draft_of(root, tmp_path / "task.yaml", taken_ids=tuple(ids)).annotation.id)
    assert ids == ["name", "owner/name", "name_2", "name_3"]


def test_nothing_is_drafted_where_nothing_fits(mirror):
    root = mirror({"train": [{"id": n} for n in range(9)]})
    with pytest.raises(SourceError, match=r"no kind of task fits the columns: id \(int\)"):
        draft_annotation(survey_hub("owner/name", None, root), Path("x.yaml"), data_root=root)


def test_several_configs_must_be_chosen_from(mirror, tmp_path):
    rows = [SHAPES["classification"](n) for n in range(40)]
    root = mirror({"a/train": rows, "b/train": rows})
    with pytest.raises(SourceError, match=r"several configs: a, b\. Choose one with --config"):
        survey_hub("owner/name", None, root)
    draft = draft_of(root, tmp_path / "task.yaml", config="b")
    assert draft.annotation.config == "b"
    assert draft.annotation.id == "name/b"
    assert "other configs: a" in draft.text


def test_a_draft_of_the_hub_pins_the_commit_it_was_read_at(monkeypatch, tmp_path):
    rows = [{"text": sentence(n), "label": n % 2} for n in range(20)]
    content = "".join(json.dumps(row) + "\n" for row in rows).encode()
    monkeypatch.setitem(FILES, "rte/tr-0.jsonl", content)
    monkeypatch.setitem(FILES, "rte/tr-1.jsonl", content)
    card = FILES["README.md"].replace(b"---\n", b"---\nlicense: cc-by-nc-4.0\n", 1)
    monkeypatch.setitem(FILES, "README.md", card)
    out = tmp_path / "task.yaml"
    with loopback_hub(monkeypatch, tmp_path / "hub"):
        draft = draft_annotation(survey_hub("owner/name", None, None), out)
    source = draft.annotation.source
    assert (source.hub, source.config, source.revision) == ("owner/name", "rte", COMMIT)
    assert (source.licence, source.commercial) == ("cc-by-nc-4.0", "no")
    assert draft.annotation.labels == ["no", "yes"]
    assert draft.annotation.verified == "rows"


def test_own_files_are_named_relative_to_the_annotation(tmp_path):
    folder = tmp_path / "work" / "talks"
    folder.mkdir(parents=True)
    for split, numbers in {"train": range(40), "test": range(40, 60)}.items():
        lines = [json.dumps(SHAPES["classification"](n)) for n in numbers]
        (folder / f"{split}.jsonl").write_text("\n".join(lines))
    out = tmp_path / "work" / "mood.yaml"
    draft = draft_annotation(survey_files(folder, out.parent), out)
    assert draft.error is None
    assert draft.annotation.source.files == {
        "train": "talks/train.jsonl",
        "test": "talks/test.jsonl",
    }
    with pytest.raises(SourceError, match="not below the annotation's folder"):
        survey_files(folder, tmp_path / "elsewhere")


@pytest.mark.parametrize(
    ("names", "slots"),
    [
        (["test", "train", "validation"], {"train": 1, "validation": 1, "test": 1}),
        (["dev_r1", "dev_r2"], {"validation": 2}),
        (["test_in", "test_out", "tool", "validation"], {"validation": 1, "test": 2}),
        (["train", "train_large"], {"train": 1}),
        (["test_of_train"], {"test": 1}),
        (["plants"], {"train": 1}),
    ],
)
def test_splits_are_told_by_their_names(names, slots):
    found, unused = assign_splits(names)
    assert {slot: len(entries) for slot, entries in found.items()} == slots
    used = [name for entries in found.values() for name in entries]
    assert sorted([*used, *unused]) == sorted(names)


@pytest.mark.parametrize(
    "text",
    [
        "tags: O=0, B-Chem=1, I-Chem=2.",
        '{"O": 0, "B-Chem": 1, "I-Chem": 2}',
        "0: O 1: B-Chem 2: I-Chem",
    ],
)
def test_names_of_tags_are_read_from_the_text_of_a_card(text):
    assert names_in_text(text, 3) == ("O", "B-Chem", "I-Chem")
    assert names_in_text(text, 4) is None


def test_what_is_written_reads_back_the_same_whatever_it_holds():
    rng = random.Random(5)
    alphabet = "ab \"'\\:#-{}[],&*!|>%@`?~0\t\n\u00e9\u4e2d\U0001f600\u200b"

    def text():
        return "".join(rng.choice(alphabet) for _ in range(rng.randrange(9)))

    def value(depth):
        kind = rng.randrange(7 if depth else 4)
        if kind < 2:
            return text()
        if kind < 4:
            return rng.choice([None, True, False, 0, -3, 1.5, "yes", "null", "true", "0.5"])
        if kind < 6:
            return [value(depth - 1) for _ in range(rng.randrange(4))]
        return {f"k{i}{text()}": value(depth - 1) for i in range(rng.randrange(4))}

    for _ in range(400):
        wanted = {f"key{i}": value(4) for i in range(3)}
        assert read_yaml(write_yaml(wanted, {"key1": [text()]})).value == wanted
