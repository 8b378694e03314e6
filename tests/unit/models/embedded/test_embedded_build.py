from dataclasses import replace

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from pipeline.files import is_complete_folder
from pipeline.mixture.tokens import tokenizer_fingerprint
from pipeline.models.embedded import (
    build,
    build_embedded_base,
    ensure_embedded_base,
    ensure_embedded_frame,
)
from pipeline.models.embedded.settings import BaseSettings
from pipeline.models.loading import build_skeleton, load_tokenizer


def test_the_folder_loads_as_any_transformers_model(tmp_path):
    build_embedded_base(tmp_path, num_steps=2)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    model = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert model.config.model_type == "llama"
    assert model.config.max_position_embeddings >= 2048
    assert model.generation_config.eos_token_id == tokenizer.convert_tokens_to_ids("<|end|>")
    assert model.generation_config.pad_token_id == tokenizer.convert_tokens_to_ids("<|pad|>")
    assert len(tokenizer) == model.config.vocab_size
    assert (tmp_path / "chat_template.jinja").exists()
    assert (tmp_path / "model.safetensors").exists()


def test_equal_settings_give_equal_weights(tmp_path):
    for name in ("first", "second"):
        build_embedded_base(tmp_path / name, num_steps=2)
    first, second = (
        AutoModelForCausalLM.from_pretrained(tmp_path / name) for name in ("first", "second")
    )
    for left, right in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(left, right)


def test_the_base_is_built_once_and_again_when_damaged(tmp_path, monkeypatch):
    monkeypatch.setenv("TASKLOOM_CACHE", str(tmp_path))
    monkeypatch.setattr(build, "BaseSettings", lambda: BaseSettings(num_steps=1))
    folder = ensure_embedded_base(progress=False)
    assert is_complete_folder(folder)
    weights = folder / "model.safetensors"
    first = weights.stat().st_mtime_ns
    assert ensure_embedded_base(progress=False) == folder
    assert weights.stat().st_mtime_ns == first
    weights.write_bytes(b"")
    ensure_embedded_base(progress=False)
    assert is_complete_folder(folder)


def test_tokenizer_and_shapes_need_no_training_and_are_those_of_the_base(tmp_path, monkeypatch):
    monkeypatch.setenv("TASKLOOM_CACHE", str(tmp_path))
    monkeypatch.setattr(build, "BaseSettings", lambda: BaseSettings(num_steps=1))
    with monkeypatch.context() as patch:
        patch.delattr(build, "train_base")
        early = tokenizer_fingerprint(load_tokenizer("embedded"))
        shapes = {name: p.shape for name, p in build_skeleton("embedded").named_parameters()}
        frame = ensure_embedded_frame()
    assert not list(frame.glob("*.safetensors"))
    base = ensure_embedded_base(progress=False)
    assert ensure_embedded_frame() == base != frame
    assert tokenizer_fingerprint(load_tokenizer(str(base))) == early
    model = AutoModelForCausalLM.from_pretrained(base)
    assert {name: p.shape for name, p in model.named_parameters()} == shapes


def test_any_change_of_the_settings_changes_the_fingerprint():
    settings = BaseSettings()
    changed = [
        replace(settings, seed=1),
        replace(settings, num_steps=1),
        replace(settings, version=9),
    ]
    assert len({item.fingerprint() for item in [settings, *changed]}) == 4
