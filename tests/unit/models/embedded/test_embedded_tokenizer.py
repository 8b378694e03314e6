import random

import pytest

from pipeline.models.embedded.build import build_embedded_tokenizer
from pipeline.models.embedded.tokenizer import DNA_UNITS, SPECIAL_TOKENS
from pipeline.sources.generated.names import NAME_ENDINGS, NameMaker


@pytest.fixture(scope="module")
def tokenizer():
    return build_embedded_tokenizer()


def pieces(tokenizer, text):
    return [tokenizer.decode([index]) for index in tokenizer(text).input_ids]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "  two  spaces\ttab\r\nnew line ",
        "Ünïcödé 漢字 🧬 \u200d",
        '{"name": "f_1", "arguments": {"x": -3.5e+10}}',
        "<< a >> [[ b ]] <|not a mark|>",
    ],
)
def test_any_text_comes_back_unchanged(tokenizer, text):
    assert tokenizer.decode(tokenizer(text).input_ids) == text


def test_random_characters_come_back_unchanged(tokenizer):
    generator = random.Random(0)
    for _ in range(200):
        starts = generator.choices((32, 97, 65, 48, 0xE9, 0x4E2D), k=30)
        text = "".join(chr(start + generator.randrange(8)) for start in starts)
        assert tokenizer.decode(tokenizer(text).input_ids) == text


def test_a_name_has_the_same_pieces_wherever_it_stands(tokenizer):
    alone = ["ka", "mu", "ro", "zine"]
    for text in ("{}", "a {} b", '"{}"', "x_{}_y", "\n{}\n", "({}: 3)"):
        got = pieces(tokenizer, text.format("kamurozine"))
        assert any(got[start : start + 4] == alone for start in range(len(got))), text


@pytest.mark.parametrize("ending", ["", *NAME_ENDINGS])
def test_a_name_is_its_syllables_and_its_ending(tokenizer, ending):
    maker = NameMaker("test", random.Random(1))
    for _ in range(30):
        name = maker.word(num_syllables=(3,), endings=(ending,))
        stem = [name[index : index + 2] for index in (0, 2, 4)]
        assert pieces(tokenizer, name) == stem + ([ending] if ending else [])


def test_frequent_words_take_their_space_and_copied_words_do_not(tokenizer):
    assert pieces(tokenizer, "patients with city") == ["patients", " with", " ", "city"]


def test_digits_stand_alone(tokenizer):
    assert pieces(tokenizer, "x=4071") == ["x", "=", "4", "0", "7", "1"]


def test_dna_units_are_added_tokens_but_not_special(tokenizer):
    assert len(DNA_UNITS) == 4 + 64
    ids = tokenizer("<dna><dna_ACG><dna_C><dna_G></dna>").input_ids
    assert len(ids) == 5
    assert not set(ids) & set(tokenizer.all_special_ids)
    assert tokenizer.decode(ids, skip_special_tokens=True) == "<dna><dna_ACG><dna_C><dna_G></dna>"


def test_the_marks_of_the_chat_are_special_single_tokens(tokenizer):
    for mark in SPECIAL_TOKENS:
        (index,) = tokenizer(mark).input_ids
        assert index in tokenizer.all_special_ids
    assert tokenizer.eos_token == "<|end|>"
    assert tokenizer.pad_token == "<|pad|>"
    assert tokenizer.bos_token is None


def test_building_twice_gives_the_same_tokenizer(tokenizer):
    again = build_embedded_tokenizer()
    assert again.backend_tokenizer.to_str() == tokenizer.backend_tokenizer.to_str()


def test_instructions_of_the_tasks_take_few_tokens(tokenizer):
    text = "List every disease in the text.\nText: "
    assert pieces(tokenizer, text) == [
        "List", " every", " disease", " in", " the", " text", ".", "\n", "Text", ": ",
    ]  # fmt: skip
