"""Sixty outputs each for entities and for tags, labelled by hand."""

import random

import pytest

from eval.parsers.spans import parse_entities, parse_tags
from pipeline.templates.answers import render_answer, render_tags
from pipeline.types import ParseFailure, TaskSpec

TYPES = ("Disease", "Gene", "Cell-Line")


def e(text, type_="Disease"):
    return {"text": text, "type": type_}


ENTITY_CASES = [
    ("None", []),
    ("none", []),
    ("NONE", []),
    ("None.", []),
    (" None ", []),
    ("\nNone\n", []),
    ("flu <Disease>", [e("flu")]),
    ("flu<Disease>", [e("flu")]),
    (" flu <Disease> ", [e("flu")]),
    ("flu  <Disease>", [e("flu")]),
    ("flu <Disease>.", [e("flu")]),
    ("flu <Disease>,", [e("flu")]),
    ("flu <Disease>\n", [e("flu")]),
    ("flu <disease>", [e("flu")]),
    ("flu <DISEASE>", [e("flu")]),
    ("p53 <Gene>", [e("p53", "Gene")]),
    ("HeLa <Cell-Line>", [e("HeLa", "Cell-Line")]),
    ("hela <cell-line>", [e("hela", "Cell-Line")]),
    ("flu <Disease>, cold <Disease>", [e("flu"), e("cold")]),
    ("flu <Disease>,cold <Disease>", [e("flu"), e("cold")]),
    ("flu <Disease> , cold <Disease>", [e("flu"), e("cold")]),
    ("flu <Disease> cold <Disease>", [e("flu"), e("cold")]),
    ("flu <Disease>\ncold <Disease>", [e("flu"), e("cold")]),
    ("flu <Disease>, flu <Disease>", [e("flu"), e("flu")]),
    ("flu <Disease>, flu <Gene>", [e("flu"), e("flu", "Gene")]),
    (
        "flu <Disease>, p53 <Gene>, HeLa <Cell-Line>",
        [e("flu"), e("p53", "Gene"), e("HeLa", "Cell-Line")],
    ),
    ("HUHTLAND , CIE <Disease>", [e("HUHTLAND , CIE")]),
    ("a, b <Disease>", [e("a, b")]),
    ("a, b <Disease>, c, d <Gene>", [e("a, b"), e("c, d", "Gene")]),
    (", x <Disease>", [e(", x")]),
    ("cancer of the lung <Disease>", [e("cancer of the lung")]),
    ("cancer  of\nthe lung <Disease>", [e("cancer of the lung")]),
    ("c - jun <Gene>", [e("c - jun", "Gene")]),
    ("p < 0.05 <Gene>", [e("p < 0.05", "Gene")]),
    ("IFN- > alpha <Gene>", [e("IFN- > alpha", "Gene")]),
    ("a < b > c <Gene>", [e("a < b > c", "Gene")]),
    ("None <Disease>", [e("None")]),
    ("none , none <Disease>", [e("none , none")]),
    ("x . <Disease>", [e("x .")]),
    ("β-globin <Gene>", [e("β-globin", "Gene")]),
    ("flu <Illness>", [e("flu", "Illness")]),
    ("flu <Illness>, p53 <Gene>", [e("flu", "Illness"), e("p53", "Gene")]),
    ("p53 <Gene>, flu <Illness>", [e("p53", "Gene"), e("flu", "Illness")]),
    ("p53 <Gene>, flu <Illness>.", [e("p53", "Gene"), e("flu", "Illness")]),
    ("<b> <Gene>", [e("<b>", "Gene")]),
    ("flu <Disease>, , cold <Disease>", [e("flu"), e(", cold")]),
    ("1 <Gene>", [e("1", "Gene")]),
    ("None, flu <Disease>", [e("None, flu")]),
    ("flu", "no_type"),
    ("flu, cold", "no_type"),
    ("flu <Disease", "no_type"),
    ("flu Disease>", "no_type"),
    ("flu (Disease)", "no_type"),
    ("flu <Disease> and so on", "no_type"),
    ("flu <Disease>, cold", "no_type"),
    ("flu <Disease>, cold <Dis", "no_type"),
    ("flu <Disease>, None", "no_type"),
    ("There is no disease.", "no_type"),
    ("None None", "no_type"),
    ("<Disease>", "no_mention"),
    (" <Disease>", "no_mention"),
    ("flu <Disease>, <Gene>", "no_mention"),
    ("flu <Disease><Gene>", "no_mention"),
]

TAGS = ("NN", "VB", ",", ".", "``", "-LRB-", "CD")
TOKENS = ["Cells", "divide", ",", "3", "times", "."]
GOLD = ["NN", "VB", ",", "CD", "NN", "."]
NO_TAG = "no_tag"
TAG_CASES = [
    ("Cells <NN> divide <VB> , <,> 3 <CD> times <NN> . <.>", GOLD),
    (" Cells <NN> divide <VB> , <,> 3 <CD> times <NN> . <.> ", GOLD),
    ("Cells <NN>\ndivide <VB>\n, <,>\n3 <CD>\ntimes <NN>\n. <.>", GOLD),
    ("Cells<NN>divide<VB>,<,>3<CD>times<NN>.<.>", GOLD),
    ("Cells  <NN>  divide  <VB>  ,  <,>  3  <CD>  times  <NN>  .  <.>", GOLD),
    ("Cells <VB> divide <NN> , <,> 3 <CD> times <NN> . <.>", ["VB", "NN", ",", "CD", "NN", "."]),
    ("Cells <CD> divide <CD> , <CD> 3 <CD> times <CD> . <CD>", ["CD"] * 6),
    ("Cells <``> divide <VB> , <,> 3 <CD> times <NN> . <.>", ["``", "VB", ",", "CD", "NN", "."]),
    (
        "Cells <-LRB-> divide <VB> , <,> 3 <CD> times <NN> . <.>",
        ["-LRB-", "VB", ",", "CD", "NN", "."],
    ),
    ("Cells <NN> divide <VB> , <,> 3 <CD> times <NN>", ["NN", "VB", ",", "CD", "NN", ""]),
    ("Cells <NN> divide <VB> , <,> 3 <CD>", ["NN", "VB", ",", "CD", "", ""]),
    ("Cells <NN> divide <VB> , <,>", ["NN", "VB", ",", "", "", ""]),
    ("Cells <NN> divide <VB>", ["NN", "VB", "", "", "", ""]),
    ("Cells <NN>", ["NN", "", "", "", "", ""]),
    ("divide <VB>", ["", "VB", "", "", "", ""]),
    (", <,>", ["", "", ",", "", "", ""]),
    ("3 <CD>", ["", "", "", "CD", "", ""]),
    ("times <NN>", ["", "", "", "", "NN", ""]),
    (". <.>", ["", "", "", "", "", "."]),
    ("divide <VB> times <NN>", ["", "VB", "", "", "NN", ""]),
    ("Cells <NN> . <.>", ["NN", "", "", "", "", "."]),
    ("Cells <NN> divide <VB> times <NN> . <.>", ["NN", "VB", "", "", "NN", "."]),
    ("divide <VB> , <,> 3 <CD> times <NN> . <.>", ["", "VB", ",", "CD", "NN", "."]),
    ("Cells <NN> , <,> 3 <CD> times <NN> . <.>", ["NN", "", ",", "CD", "NN", "."]),
    ("The <NN> Cells <NN> divide <VB> , <,> 3 <CD> times <NN> . <.>", GOLD),
    ("Cells <NN> can <VB> divide <VB> , <,> 3 <CD> times <NN> . <.>", GOLD),
    ("Cells <NN> divide <VB> , <,> 3 <CD> times <NN> . <.> End <NN>", GOLD),
    ("Cells <CD> Cells <NN> divide <VB> , <,> 3 <CD> times <NN> . <.>", GOLD),
    ("cells <NN> divide <VB> , <,> 3 <CD> times <NN> . <.>", ["", "VB", ",", "CD", "NN", "."]),
    ("Cell <NN> divide <VB> , <,> 3 <CD> times <NN> . <.>", ["", "VB", ",", "CD", "NN", "."]),
    ("Cells <NN> split <VB> , <,> 3 <CD> times <NN> . <.>", ["NN", "", ",", "CD", "NN", "."]),
    ("Cells <NN> divide <VB> ; <,> 3 <CD> times <NN> . <.>", ["NN", "VB", "", "CD", "NN", "."]),
    ("Cells <NN> divide <VB> , <,> three <CD> times <NN> . <.>", ["NN", "VB", ",", "", "NN", "."]),
    ("Cells <NN> divide <VB> , <,> 3 <CD> times <NN> ! <.>", ["NN", "VB", ",", "CD", "NN", ""]),
    ("Cells divide <VB> , <,> 3 <CD> times <NN> . <.>", ["", "", ",", "CD", "NN", "."]),
    ("Cells <NN> divide , <,> 3 <CD> times <NN> . <.>", ["NN", "", "", "CD", "NN", "."]),
    ("Cells <NN> divide <XX> , <,> 3 <CD> times <NN> . <.>", ["NN", "", "", "CD", "NN", "."]),
    ("Cells <nn> divide <VB> , <,> 3 <CD> times <NN> . <.>", ["", "", ",", "CD", "NN", "."]),
    ("Cells <NN> divide <VB> , <,> 3 <CD> times <NN> . <", ["NN", "VB", ",", "CD", "NN", ""]),
    ("Cells <NN> divide <VB> , <,> 3 <CD> times <NN> .", ["NN", "VB", ",", "CD", "NN", ""]),
    ("Cells <NN> divide <VB> , <,> 3 <CD> tim", ["NN", "VB", ",", "CD", "", ""]),
    ("Cells <NN> divide <VB> and so on", ["NN", "VB", "", "", "", ""]),
    ("<NN> Cells <NN> divide <VB> , <,> 3 <CD> times <NN> . <.>", GOLD),
    ("<NN>", [""] * 6),
    ("<NN> <VB>", [""] * 6),
    ("x <NN>", [""] * 6),
    ("x <NN> y <VB>", [""] * 6),
    ("times <NN> divide <VB>", ["", "VB", "", "", "", ""]),
    (". <.> Cells <NN>", ["NN", "", "", "", "", ""]),
    ("", NO_TAG),
    (" ", NO_TAG),
    ("Cells divide , 3 times .", NO_TAG),
    ("NN VB , CD NN .", NO_TAG),
    ("Cells/NN divide/VB", NO_TAG),
    ("Cells [NN] divide [VB]", NO_TAG),
    ("Cells <XX>", NO_TAG),
    ("Cells <nn>", NO_TAG),
    ("Cells <NN", NO_TAG),
    ("Cells NN>", NO_TAG),
    ("Cells < NN >", NO_TAG),
    ("None", NO_TAG),
]


def check(parsed, expected):
    if isinstance(parsed, ParseFailure):
        assert parsed.code == expected
    else:
        assert parsed == expected


@pytest.mark.parametrize(("text", "expected"), ENTITY_CASES)
def test_entities_are_read(text, expected):
    check(parse_entities(text, TYPES), expected)


@pytest.mark.parametrize(("text", "expected"), TAG_CASES)
def test_tags_are_read(text, expected):
    check(parse_tags(text, TAGS, TOKENS), expected)


def test_there_are_sixty_cases_of_each_family():
    assert min(len(ENTITY_CASES), len(TAG_CASES)) >= 60


def test_written_entities_are_read_back():
    spec = TaskSpec(
        id="t",
        kind="token_classification",
        family="f",
        instruction="",
        labels=TYPES,
        settings={"scheme": "bio"},
    )
    words = ["flu", ",", "<", ">", "p53", "-", "(", "A", "None", "."]
    for seed in range(500):
        generator = random.Random(seed)
        gold = [
            e(
                " ".join(generator.choices(words, k=generator.randint(1, 4))),
                generator.choice(TYPES),
            )
            for _ in range(generator.randint(0, 5))
        ]
        assert parse_entities(render_answer(gold, spec), TYPES) == gold


def test_written_tags_are_read_back():
    words = ["Cells", ",", "<", ">", "<NN", "p53", ".", "``", "("]
    for seed in range(500):
        generator = random.Random(seed)
        tokens = generator.choices(words, k=generator.randint(1, 12))
        tags = generator.choices(TAGS, k=len(tokens))
        assert parse_tags(render_tags(tokens, tags), TAGS, tokens) == tags


def test_a_mark_that_never_ends_takes_no_time():
    assert isinstance(parse_entities("<" * 200_000, TYPES), ParseFailure)
    assert isinstance(parse_entities("<a" * 100_000, TYPES), ParseFailure)
    assert isinstance(parse_tags("<" * 200_000, TAGS, TOKENS), ParseFailure)
