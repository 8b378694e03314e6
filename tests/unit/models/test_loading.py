"""Model and tokenizer folders: what loads, and the one line that tells what does not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from pipeline.errors import ModelError
from pipeline.models import loading
from pipeline.models.loading import (
    build_quantization_config,
    load_model,
    load_tokenizer,
    resolve_dtype,
    resolve_model,
)
from tests.fixtures.tiny_models import save_tiny_model


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("model"))


@pytest.fixture
def folder(saved, tmp_path) -> Path:
    """A copy that a test may damage."""
    copy = tmp_path / "model"
    copy.mkdir()
    for file in saved.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    return copy


def message_of(call, *args, **options) -> str:
    with pytest.raises(ModelError) as caught:
        call(*args, **options)
    text = str(caught.value)
    assert "\n" not in text
    return text


def change_config(folder: Path, name: str = "config.json", **values: object) -> None:
    path = folder / name
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def test_a_folder_is_used_where_it_is(saved):
    assert resolve_model(str(saved)) == str(saved)


@pytest.mark.parametrize("name", ["Qwen/Qwen3-0.6B", "gpt2", "meta-llama/Llama-3.1-8B"])
def test_a_hub_id_is_passed_on(name):
    assert resolve_model(name) == name


@pytest.mark.parametrize("name", ["./missing", "/no/such/folder", "a/b/c", "~/nothing-here", " "])
def test_a_name_that_is_neither_folder_nor_hub_id_is_refused(name):
    assert message_of(resolve_model, name).endswith(
        "no such model folder, and not a hub id. Give a folder, a hub id such as "
        "'Qwen/Qwen3-0.6B', or 'embedded'. [MOD001]"
    )


def test_a_folder_without_config_is_refused(folder):
    (folder / "config.json").unlink()
    assert message_of(resolve_model, str(folder)) == (
        f"{folder}: no config.json in the model folder. Give a folder saved with "
        "`save_pretrained`. [MOD002]"
    )


def test_an_adapter_folder_is_told_from_a_model_folder(tmp_path):
    (tmp_path / "adapter_config.json").write_text("{}")
    assert "this folder holds an adapter, not a model" in message_of(resolve_model, str(tmp_path))


def test_a_folder_without_weights_is_refused(folder):
    (folder / "model.safetensors").unlink()
    assert message_of(resolve_model, str(folder)) == (
        f"{folder}: no weights in the model folder, expected model.safetensors or "
        "model.safetensors.index.json. Download the model again, with its weights. [MOD003]"
    )


@pytest.mark.parametrize("name", ["pytorch_model.bin", "consolidated.00.pth"])
def test_pickled_weights_are_refused(folder, name):
    (folder / "model.safetensors").rename(folder / name)
    assert message_of(resolve_model, str(folder)) == (
        f"{folder}: only pickled weights in the model folder ({name}), which can run code. "
        "Convert them to model.safetensors where you trust the source. [MOD004]"
    )


@pytest.mark.parametrize("shard", ["model-2.safetensors", "../model.safetensors"])
def test_an_index_that_names_a_file_outside_the_folder_is_refused(folder, shard):
    (folder / "model.safetensors").unlink()
    index = {"weight_map": {"a": shard}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    assert f"names the weight file '{shard}'" in message_of(resolve_model, str(folder))


def test_an_index_with_all_its_files_is_accepted(folder):
    (folder / "model.safetensors").rename(folder / "model-1.safetensors")
    index = {"weight_map": {"a": "model-1.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    assert resolve_model(str(folder)) == str(folder)


def test_code_in_the_folder_is_refused_for_an_unknown_architecture(folder):
    change_config(folder, auto_map={"AutoConfig": "x.Y"}, model_type="unheard_of")
    assert message_of(resolve_model, str(folder)) == (
        f"{folder}/config.json: asks to run code of its own (`auto_map`), which is never done. "
        "Use a model whose architecture is part of transformers. [MOD005]"
    )


def test_code_beside_a_known_architecture_is_never_run(folder):
    (folder / "evil.py").write_text("raise SystemExit('code of the folder was run')\n")
    change_config(folder, auto_map={"AutoModelForCausalLM": "evil.Model"})
    assert type(load_model(str(folder))).__name__ == "LlamaForCausalLM"


def test_code_in_the_tokenizer_is_refused(folder):
    change_config(folder, "tokenizer_config.json", auto_map={"AutoTokenizer": ["evil.T", None]})
    assert message_of(load_tokenizer, str(folder)).endswith("[MOD005]")


@pytest.mark.parametrize("text", ["", "{", "[]", "3"])
def test_an_unreadable_config_is_refused(folder, text):
    (folder / "config.json").write_text(text)
    assert message_of(resolve_model, str(folder)).endswith("[MOD006]")


def test_truncated_weights_are_refused(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    assert message_of(load_model, str(folder)).endswith("[MOD007]")


def test_weights_of_another_shape_are_refused(folder):
    change_config(folder, hidden_size=64)
    assert message_of(load_model, str(folder)).endswith("[MOD007]")


def test_a_model_is_never_completed_with_random_weights(folder):
    path = folder / "model.safetensors"
    weights = load_file(path)
    del weights["model.layers.1.mlp.up_proj.weight"]
    save_file(weights, path, metadata={"format": "pt"})
    assert message_of(load_model, str(folder)) == (
        f"{folder}: the weight files lack 1 weights of the model, e.g. "
        "model.layers.1.mlp.up_proj.weight. Without them the model would start from random "
        "numbers; download it again. [MOD013]"
    )


def test_an_unknown_attention_is_refused(saved):
    text = message_of(load_model, str(saved), attn_implementation="flash_attention_9")
    assert text.endswith("[MOD007]")


def test_a_folder_without_tokenizer_is_refused(folder):
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).unlink()
    assert message_of(load_tokenizer, str(folder)).endswith("[MOD008]")


def test_a_chat_template_file_replaces_the_models_own(saved, tmp_path):
    template = tmp_path / "mine.jinja"
    template.write_text("{{ messages[0].content }}")
    tokenizer = load_tokenizer(str(saved), chat_template_path=template)
    messages = [{"role": "user", "content": "Hello!"}]
    assert tokenizer.apply_chat_template(messages, tokenize=False) == "Hello!"


def test_a_missing_chat_template_file_is_refused(saved, tmp_path):
    text = message_of(load_tokenizer, str(saved), chat_template_path=tmp_path / "none.jinja")
    assert text.endswith("[MOD009]")


@pytest.mark.parametrize(
    ("family", "pad_token"),
    [("llama", "<|eot_id|>"), ("qwen3", "<|endoftext|>"), ("gemma3", "<pad>")],
)
def test_every_tokenizer_can_pad_without_growing_its_vocabulary(tmp_path, family, pad_token):
    save_tiny_model(tmp_path, family)
    size = len(json.loads((tmp_path / "tokenizer.json").read_text())["model"]["vocab"])
    tokenizer = load_tokenizer(str(tmp_path))
    assert tokenizer.pad_token == pad_token
    assert tokenizer.pad_token_id is not None
    assert len(tokenizer) - len(tokenizer.get_added_vocab()) <= size


def test_both_quantisations_at_once_are_refused():
    text = message_of(build_quantization_config, load_in_4bit=True, load_in_8bit=True)
    assert text.startswith("got both load_in_4bit and load_in_8bit, allowed one of them.")
    assert text.endswith("[MOD014]")


def test_quantisation_without_bitsandbytes_is_refused(monkeypatch):
    monkeypatch.setattr(loading.importlib.util, "find_spec", lambda name: None)
    text = message_of(build_quantization_config, load_in_4bit=True, load_in_8bit=False)
    assert text == (
        "4-bit and 8-bit models need bitsandbytes, which is not installed. pip install "
        "bitsandbytes, or leave load_in_4bit and load_in_8bit out. [MOD010]"
    )


def test_a_model_in_4_bits_learns_the_same_after_it_was_evaluated(tmp_path, monkeypatch):
    modules = pytest.importorskip("bitsandbytes.nn.modules")
    # As on CPUs for which bitsandbytes packs weights in a way that has no gradient.
    monkeypatch.setattr(modules, "has_avx512bf16", lambda: True)
    save_tiny_model(tmp_path)
    model = load_model(str(tmp_path), load_in_4bit=True, device="cpu")
    embedded = model.get_input_embeddings().weight
    embedded.requires_grad_(True)
    found = []
    for _ in range(2):
        model.train()
        model(torch.arange(4)[None]).logits.square().mean().backward()
        found.append(embedded.grad.clone())
        embedded.grad = None
        model.eval()
        with torch.no_grad():
            logits = model(torch.arange(4)[None]).logits
        assert torch.isfinite(logits).all()
    assert found[0].abs().max() > 0
    assert torch.equal(*found)


def test_a_model_that_does_not_fit_is_one_line(tmp_path, monkeypatch):
    save_tiny_model(tmp_path)

    def refuse(*args: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    monkeypatch.setattr(torch.nn.Module, "to", refuse)
    assert message_of(load_model, str(tmp_path), device="cpu") == (
        f"{tmp_path}: the model does not fit into memory. Free memory of the device, or set a "
        "smaller `dtype` or `load_in_4bit: true`. [MOD007]"
    )


def test_the_default_dtype_on_a_cpu_is_float32(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert resolve_dtype("auto") == torch.float32
    assert resolve_dtype("bfloat16") == torch.bfloat16


def test_the_default_dtype_on_a_gpu_is_bfloat16(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert resolve_dtype("auto") == torch.bfloat16


def test_a_hub_model_that_cannot_be_fetched_is_one_line(monkeypatch):
    def refuse(*args: object, **options: object) -> None:
        raise OSError("We couldn't connect to 'https://huggingface.co'\nmore lines")

    monkeypatch.setattr("transformers.AutoTokenizer.from_pretrained", refuse)
    assert message_of(load_tokenizer, "no-one/nothing") == (
        "no-one/nothing: the tokenizer is not a folder here and could not be fetched from the hub. "
        "Check the name, the revision and the network, or give a local folder. [MOD011]"
    )
