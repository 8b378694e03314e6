"""Untrained bases for DNA: the same weights again, and the sizes that their names say."""

from __future__ import annotations

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from pipeline.chat.extension import TokenExtension
from pipeline.models.dna_base import DNA_BASES
from pipeline.models.loading import load_model, load_tokenizer, resolve_model

KMER6 = TokenExtension(dna_unit="kmer6")


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TASKLOOM_CACHE", str(tmp_path))


def test_an_untrained_base_is_written_once_and_loads():
    folder = resolve_model("dna-2m")
    assert resolve_model("dna-2m") == folder
    model, tokenizer = load_model("dna-2m"), load_tokenizer("dna-2m", extension=KMER6)
    assert model.get_input_embeddings().weight.shape[0] < len(tokenizer)
    first, second = torch.tensor([[5, 6, 7]]), torch.tensor([[7, 6, 5]])
    assert not torch.equal(model(first).logits[:, -1], model(second).logits[:, -1])


@pytest.mark.parametrize(
    ("name", "millions"),
    [("dna-20m", 12), ("dna-60m", 42), ("dna-116m", 135), ("dna-300m", 312)],
)
def test_sizes_have_about_the_parameters_of_their_names(name, millions):
    size = DNA_BASES[name]
    with torch.device("meta"):
        model = LlamaForCausalLM(
            LlamaConfig(
                vocab_size=4096,
                hidden_size=size.hidden_size,
                num_hidden_layers=size.num_layers,
                intermediate_size=4 * size.hidden_size,
                num_attention_heads=4,
            )
        )
    assert sum(p.numel() for p in model.parameters()) / 1e6 == pytest.approx(millions, rel=0.3)
