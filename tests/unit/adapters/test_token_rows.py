"""New tokens: rows made the same everywhere, trained, saved with the adapter, found again."""

from __future__ import annotations

import copy
import time

import pytest
import torch

from pipeline.adapters.base_fingerprint import BASE_MODEL_FILE, BaseFingerprint
from pipeline.adapters.registry import attach_adapter, load_adapter
from pipeline.adapters.token_rows import add_token_rows, trained_token_ids
from pipeline.chat.dna import find_dna_unit
from pipeline.chat.extension import TokenExtension
from pipeline.models.loading import load_model, load_tokenizer
from pipeline.recipe import AdapterSettings
from tests.fixtures.tiny_models import save_tiny_model

TIED, UNTIED = "qwen3", "llama"


@pytest.fixture(scope="module", params=[TIED, UNTIED])
def base(request, tmp_path_factory):
    return save_tiny_model(tmp_path_factory.mktemp(request.param), request.param)


def extended(base, unit="kmer3"):
    tokenizer = load_tokenizer(str(base))
    return tokenizer, TokenExtension(dna_unit=unit).add_to(tokenizer)


def is_tied(model):
    return model.get_input_embeddings().weight is model.get_output_embeddings().weight


def test_rows_are_added_upward_and_old_rows_stay(base):
    before, after = load_model(str(base)), load_model(str(base))
    tokenizer, ids = extended(base)
    num_rows = before.get_input_embeddings().weight.shape[0]
    add_token_rows(after, ids)
    assert after.get_input_embeddings().weight.shape[0] == max(num_rows, len(tokenizer))
    assert is_tied(after) == is_tied(before)
    for table in ("get_input_embeddings", "get_output_embeddings"):
        old, new = getattr(before, table)().weight, getattr(after, table)().weight
        kept = [i for i in range(num_rows) if i not in ids]
        assert torch.equal(new[kept], old[kept])
        added = new[[i for i in ids if i >= num_rows]]
        assert torch.allclose(added.mean(), old.mean(), atol=0.2 * old.std().item())
        assert added.std().item() == pytest.approx(old.std().item(), rel=0.2)
        assert len(added.unique(dim=0)) == len(added)


def test_adding_is_the_same_every_time_and_a_smaller_vocabulary_shrinks_nothing(base):
    models = [load_model(str(base)) for _ in range(2)]
    for model in models:
        _, ids = extended(base, "kmer6")
        add_token_rows(model, ids)
    assert all(
        torch.equal(a, b)
        for a, b in zip(models[0].parameters(), models[1].parameters(), strict=True)
    )
    rows = models[0].get_input_embeddings().weight.shape[0]
    add_token_rows(models[0], [1])
    assert models[0].get_input_embeddings().weight.shape[0] == rows


def train_a_little(model, ids):
    batch = torch.tensor([[5, *ids[:6], 9, 11]])
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.5)
    for _ in range(2):
        loss = model(input_ids=batch, labels=batch).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()


@pytest.mark.parametrize("kind", ["lora", "smora"])
def test_new_rows_are_trained_and_old_ones_are_not_and_one_call_finds_them_again(
    base, kind, tmp_path
):
    tokenizer, ids = extended(base)
    torch.manual_seed(0)
    active = 2 if kind == "smora" else None
    settings = AdapterSettings(type=kind, rank=4, num_active_ranks=active)
    model = attach_adapter(load_model(str(base)), settings, task_names=["a"], new_token_ids=ids)
    start = model.get_input_embeddings().weight.detach().clone()
    train_a_little(model, ids)
    end = model.get_input_embeddings().weight.detach()
    old = [i for i in range(len(end)) if i not in ids]
    assert torch.equal(end[old], start[old])
    assert not torch.equal(end[ids[:6]], start[ids[:6]])

    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    BaseFingerprint.of(str(base)).write(tmp_path / BASE_MODEL_FILE)
    loaded = load_adapter(load_model(str(base)), tmp_path)
    assert trained_token_ids(loaded.peft_config["default"]) == tuple(sorted(ids))
    probe = torch.tensor([[5, *ids[:9], 11]])
    model.eval(), loaded.eval()
    with torch.no_grad():
        assert torch.allclose(model(probe).logits, loaded(probe).logits, atol=1e-6)
    assert torch.equal(loaded.get_input_embeddings().weight, end)

    extension = TokenExtension.read(tmp_path)
    assert extension == TokenExtension(dna_unit="kmer3")
    again = load_tokenizer(str(base), extension=extension)
    assert find_dna_unit(again) == "kmer3"
    assert again.get_vocab() == tokenizer.get_vocab()


def test_a_base_that_has_all_tokens_gets_no_new_rows(base):
    tokenizer, _ = extended(base)
    assert TokenExtension(dna_unit="kmer3").add_to(tokenizer) == []
    assert TokenExtension(dna_unit="letters").add_to(copy.deepcopy(tokenizer)) == []


def test_four_thousand_units_are_added_and_loaded_in_a_second(base):
    model = load_model(str(base))
    start = time.process_time()
    _, ids = extended(base, "kmer6")
    add_token_rows(model, ids)
    assert len(ids) >= 4096
    assert time.process_time() - start < 3.0  # under one second where nothing else runs
