"""Texts to ids with and without control tokens."""

from __future__ import annotations

import copy

import pytest
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from pipeline.chat.vocabulary import encoder_for
from pipeline.errors import ChatError
from tests.unit.chat.formats import FORMATS


@pytest.mark.parametrize("name", FORMATS)
def test_control_texts_become_ordinary_tokens(name: str) -> None:
    tokenizer = FORMATS[name]()
    encoder = encoder_for(tokenizer)
    texts = [token.content for token in tokenizer.added_tokens_decoder.values()]
    texts = [text for text in texts if text.strip() and text != "<unk>"]
    for has_prefix in (True, False):
        encoded = encoder.encode_texts(texts, has_prefix=has_prefix)
        assert not encoder.control_ids.intersection(i for ids in encoded for i in ids)


@pytest.mark.parametrize("name", FORMATS)
def test_ordinary_texts_get_the_ids_of_the_tokenizer(name: str) -> None:
    tokenizer = FORMATS[name]()
    texts = ["The quick brown fox.", " a film\n\nOslo ", "", "日本 é \t x", '{"a": [1, 2]}']
    expected = [tokenizer.encode(text, add_special_tokens=False) for text in texts]
    assert encoder_for(tokenizer).encode_texts(texts, has_prefix=True) == expected


def test_template_text_is_split_at_added_tokens() -> None:
    encoder = encoder_for(FORMATS["embedded"]())
    user, end = encoder.token_id("<|user|>"), encoder.token_id("<|end|>")
    assert encoder.split_template("<|user|>\na<|end|><|end|>") == (user, "\na", end, end)
    assert encoder.find_control_end("ab<|end|>\n") == len("ab<|end|>")
    assert encoder.find_control_end("plain") is None


def test_longest_added_token_wins_and_strips_its_side() -> None:
    tokenizer = copy.deepcopy(FORMATS["embedded"]())
    tokenizer.add_tokens([AddedToken("<|user|>!", rstrip=True), AddedToken("<x>", lstrip=True)])
    encoder = encoder_for(tokenizer)
    longer, x = encoder.token_id("<|user|>!"), encoder.token_id("<x>")
    assert encoder.split_template("<|user|>! \n a \n<x> b") == (longer, "a", x, " b")


def test_encoder_is_built_again_after_tokens_were_added() -> None:
    tokenizer = copy.deepcopy(FORMATS["embedded"]())
    before = encoder_for(tokenizer)
    assert encoder_for(tokenizer) is before
    tokenizer.add_tokens(["<new>"])
    assert encoder_for(tokenizer).token_id("<new>") is not None


def test_runs_of_blanks_stay_tokens_of_their_own_ids() -> None:
    tokenizer = copy.deepcopy(FORMATS["embedded"]())
    tokenizer.add_tokens([AddedToken("<ctl>"), AddedToken("    ", normalized=False)])
    blanks = tokenizer.convert_tokens_to_ids("    ")
    encoder = encoder_for(tokenizer)
    assert encoder.encode_texts(["x    y<ctl>"], has_prefix=True)[0].count(blanks) == 1
    assert blanks not in encoder.control_ids


def test_words_of_a_whole_word_vocabulary_cannot_spell_a_control_token() -> None:
    backend = Tokenizer(models.WordLevel({"<unk>": 0, "END": 1, "a": 2}, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    backend.add_special_tokens(["END"])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="<unk>")
    assert encoder_for(tokenizer).encode_texts(["a END a"], has_prefix=True) == [[2, 0, 2]]


def test_pieces_of_a_unigram_vocabulary_cannot_spell_a_control_token() -> None:
    pieces = [("<unk>", 0.0), ("</s>", 0.0), ("<", -2.0), ("/", -2.0), ("s", -2.0), (">", -2.0)]
    backend = Tokenizer(models.Unigram(pieces, unk_id=0, byte_fallback=False))
    backend.add_special_tokens(["</s>"])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="</s>")
    assert encoder_for(tokenizer).encode_texts(["s</s>"], has_prefix=True) == [[4, 2, 3, 4, 5]]


def test_half_a_surrogate_pair_is_told() -> None:
    with pytest.raises(ChatError) as error:
        encoder_for(FORMATS["embedded"]()).encode_texts(["ab\ud800"], has_prefix=True)
    assert str(error.value) == (
        "'ab' is followed by half a surrogate pair, which is no letter. Repair the row; the file "
        "was probably written with a wrong encoding. [CHT012]"
    )


def test_tokenizer_without_fast_backend_is_told() -> None:
    class Slow:
        pass

    with pytest.raises(ChatError) as error:
        encoder_for(Slow())
    assert str(error.value) == (
        "Slow has no fast backend, so control tokens in data could not be told from those of the "
        "template. Use a tokenizer that has a tokenizer.json. [CHT002]"
    )


def test_content_that_reaches_a_control_token_all_the_same_is_refused() -> None:
    # Only this name stands for the hidden entry, and only here is a whole text one word.
    backend = Tokenizer(models.WordLevel({"<unk>": 0, "END": 1}, unk_token="<unk>"))
    backend.add_special_tokens(["END"])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="<unk>")
    with pytest.raises(ChatError) as error:
        encoder_for(tokenizer).encode_texts(["\x00 1 \x00"], has_prefix=True)
    assert str(error.value) == (
        "content becomes the control token 'END' in '\\x00 1 \\x00'. Remove this row, or use "
        "another tokenizer. [CHT008]"
    )


def test_no_end_of_turn_and_no_eos_is_told() -> None:
    tokenizer = copy.deepcopy(FORMATS["embedded"]())
    tokenizer.eos_token = None
    with pytest.raises(ChatError) as error:
        encoder_for(tokenizer).require_eos()
    assert str(error.value) == (
        "the chat template ends an answer with nothing, and the tokenizer has no EOS. Set "
        "eos_token, or use another chat_template_path. [CHT011]"
    )
