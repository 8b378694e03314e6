import pytest
import torch

from pipeline.models.embedded.build import build_embedded_tokenizer
from pipeline.models.embedded.settings import BaseSettings
from pipeline.models.embedded.text import Exercise
from pipeline.models.embedded.training import collate, encode_exercise, rate_factor
from pipeline.types import IGNORE_INDEX


@pytest.fixture(scope="module")
def tokenizer():
    return build_embedded_tokenizer()


def test_the_rate_warms_up_stays_flat_and_falls():
    settings = BaseSettings(
        num_steps=100, num_warmup_steps=10, flat_fraction=0.5, final_rate_fraction=0.1
    )
    rates = [rate_factor(step, settings) for step in (0, 9, 10, 49, 75)]
    assert rates == pytest.approx([0.1, 1.0, 1.0, 1.0, 0.55])


def test_an_exercise_is_encoded_as_the_chat_template_renders_it(tokenizer):
    messages = [{"role": "user", "content": "Say it."}, {"role": "assistant", "content": "kamuro"}]
    item = encode_exercise(tokenizer, Exercise("Say it.", "kamuro"))
    text = tokenizer.decode(item.input_ids)
    assert text + "\n" == tokenizer.apply_chat_template(messages, tokenize=False)
    answer = item.input_ids[item.num_prompt_tokens :]
    assert tokenizer.decode(answer) == "kamuro<|end|>"


def test_dna_is_one_unit_per_base_and_the_last_two_stand_alone(tokenizer):
    item = encode_exercise(tokenizer, Exercise("<dna>ACGTA</dna>", "x"))
    assert "<dna><dna_ACG><dna_CGT><dna_GTA><dna_T><dna_A></dna>" in tokenizer.decode(
        item.input_ids
    )


def test_padding_carries_no_loss_and_answers_carry_all_of_it(tokenizer):
    items = [encode_exercise(tokenizer, Exercise(text, "a")) for text in ("one", "one two three")]
    batch = collate(items, pad_token_id=0, prompt_weight=0.25)
    length, prompt = len(items[0].input_ids), items[0].num_prompt_tokens
    assert batch.weights[0, :prompt].eq(0.25).all()
    assert batch.weights[0, prompt:length].eq(1).all()
    assert batch.weights[0, length:].eq(0).all()
    assert batch.labels[0, length:].eq(IGNORE_INDEX).all()
    assert torch.equal(batch.labels[0, :length], batch.input_ids[0, :length])
