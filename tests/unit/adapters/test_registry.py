"""Adapters: built, attached, saved and loaded, and refused on another base."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from pipeline.adapters.base_fingerprint import BASE_MODEL_FILE, BaseFingerprint
from pipeline.adapters.registry import attach_adapter, build_adapter_config, load_adapter
from pipeline.errors import AdapterError
from pipeline.files import staged_folder
from pipeline.models.loading import load_model
from pipeline.recipe import AdapterSettings
from tests.fixtures.tiny_models import save_tiny_model

INPUT = torch.arange(12).reshape(1, 12)


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def saved(base, tmp_path_factory) -> Path:
    """An adapter that changes the base's output."""
    torch.manual_seed(0)
    model = attach_adapter(load_model(str(base)), AdapterSettings(rank=4))
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    folder = tmp_path_factory.mktemp("adapter")
    model.save_pretrained(folder)
    BaseFingerprint.of(str(base)).write(folder / BASE_MODEL_FILE)
    return folder


@pytest.fixture
def folder(saved, tmp_path) -> Path:
    """A copy that a test may damage."""
    for file in saved.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    return tmp_path


def message_of(model, folder: Path) -> str:
    with pytest.raises(AdapterError) as caught:
        load_adapter(model, folder)
    assert "\n" not in str(caught.value)
    return str(caught.value).replace(str(folder), "FOLDER")


def test_settings_reach_peft_under_its_own_names():
    settings = AdapterSettings(
        rank=4, lora_alpha=8, lora_dropout=0.1, target_modules=("q_proj",), use_rslora=True
    )
    config = build_adapter_config(settings)
    assert (config.r, config.lora_alpha, config.lora_dropout) == (4, 8, 0.1)
    assert config.target_modules == {"q_proj"}
    assert (config.use_rslora, config.use_dora, config.bias) == (True, False, "none")


def test_only_the_adapter_is_trainable_and_the_output_does_not_change_at_first(base):
    model = load_model(str(base))
    before = model(INPUT).logits
    adapted = attach_adapter(model, AdapterSettings())
    trainable = {name for name, value in adapted.named_parameters() if value.requires_grad}
    assert trainable
    assert all("lora_" in name for name in trainable)
    assert not any("lm_head" in name for name in trainable)
    assert torch.equal(adapted(INPUT).logits, before)


def test_a_saved_adapter_gives_the_same_output_when_loaded(base, saved):
    adapted = load_adapter(load_model(str(base)), saved)
    again = load_adapter(load_model(str(base)), saved)
    plain = load_model(str(base))
    assert torch.equal(adapted(INPUT).logits, again(INPUT).logits)
    assert not torch.allclose(adapted(INPUT).logits, plain(INPUT).logits)
    assert not any(value.requires_grad for value in adapted.parameters())


def test_a_loaded_adapter_can_be_trained_on(base, saved):
    adapted = load_adapter(load_model(str(base)), saved, is_trainable=True)
    assert any(value.requires_grad for value in adapted.parameters())


def test_target_modules_that_do_not_exist_are_refused_with_those_that_do(base):
    with pytest.raises(AdapterError, match=r"lora_target_modules: .*k_proj.*\[ADP001\]"):
        attach_adapter(load_model(str(base)), AdapterSettings(target_modules=("query",)))


def test_an_adapter_on_the_output_head_is_refused(base):
    with pytest.raises(AdapterError, match=r"the output head cannot carry an adapter.*\[ADP002\]"):
        attach_adapter(load_model(str(base)), AdapterSettings(target_modules=("lm_head",)))


def test_a_folder_that_is_no_adapter_is_refused(base, tmp_path):
    assert message_of(load_model(str(base)), tmp_path) == (
        "FOLDER: no adapter_config.json here, so this is no adapter. Give the `adapter` folder of "
        "a run, or any PEFT folder. [ADP003]"
    )


def test_pickled_adapter_weights_are_refused(base, folder):
    (folder / "adapter_model.safetensors").rename(folder / "adapter_model.bin")
    assert message_of(load_model(str(base)), folder) == (
        "FOLDER: no adapter_model.safetensors here; pickled weights are never read. Save the "
        "adapter again as safetensors. [ADP003]"
    )


def test_an_adapter_of_another_base_of_the_same_shape_is_refused(folder, tmp_path_factory):
    other = save_tiny_model(tmp_path_factory.mktemp("other"), seed=1)
    text = message_of(load_model(str(other)), folder)
    assert "trained on" in text
    assert text.endswith("Load it on the model it was trained on. [ADP004]")


def test_an_adapter_of_another_shape_is_refused_without_a_fingerprint(folder, tmp_path_factory):
    (folder / BASE_MODEL_FILE).unlink()
    other = save_tiny_model(tmp_path_factory.mktemp("other"), "gemma3")
    assert message_of(load_model(str(other)), folder).endswith("[ADP004]")


def test_an_adapter_made_elsewhere_loads_without_a_fingerprint(base, folder):
    (folder / BASE_MODEL_FILE).unlink()
    load_adapter(load_model(str(base)), folder)


def test_an_adapter_file_that_lacks_a_weight_is_refused(base, folder):
    path = folder / "adapter_model.safetensors"
    weights = load_file(path)
    del weights[sorted(weights)[0]]
    save_file(weights, path)
    text = message_of(load_model(str(base)), folder)
    assert "1 weights of file and adapter do not match" in text
    assert text.endswith("[ADP004]")


@pytest.fixture
def sealed(folder, tmp_path_factory) -> Path:
    """An adapter as a run writes it, with its manifest."""
    target = tmp_path_factory.mktemp("sealed") / "adapter"
    with staged_folder(target) as staged:
        for file in folder.iterdir():
            (staged / file.name).write_bytes(file.read_bytes())
        (staged / "tokenizer.json").write_text("{}")
    return target


def test_an_adapter_as_it_was_written_loads_with_notes_beside_it(base, sealed):
    (sealed / "README.md").write_text("what it is good for")
    (sealed / "eval").mkdir()
    (sealed / "eval" / "results.json").write_text("{}")
    load_adapter(load_model(str(base)), sealed)


@pytest.mark.parametrize(
    "name",
    ["adapter_model.safetensors", "adapter_config.json", "base_model.json", "tokenizer.json"],
)
def test_a_bit_that_changed_in_an_adapter_is_refused_with_the_file(base, sealed, name):
    content = bytearray((sealed / name).read_bytes())
    content[-2] ^= 1
    (sealed / name).write_bytes(content)
    assert message_of(load_model(str(base)), sealed) == (
        f"FOLDER: this adapter is not as it was written: {name}: changed since it was written. "
        "Copy it again; where the change is wanted, remove manifest.json. [ADP005]"
    )


def test_a_change_that_is_wanted_is_loaded_without_the_manifest(base, sealed):
    path = sealed / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text())))
    assert "adapter_config.json: changed" in message_of(load_model(str(base)), sealed)
    (sealed / "manifest.json").unlink()
    load_adapter(load_model(str(base)), sealed)


def test_a_file_that_was_lost_beside_an_adapter_is_refused(base, sealed):
    (sealed / "tokenizer.json").unlink()
    assert "tokenizer.json: missing" in message_of(load_model(str(base)), sealed)


def test_truncated_adapter_weights_are_refused(base, folder):
    path = folder / "adapter_model.safetensors"
    path.write_bytes(path.read_bytes()[:-10])
    assert message_of(load_model(str(base)), folder).endswith("[ADP005]")


@pytest.mark.parametrize("text", ["", "[]", "{}"])
def test_an_unreadable_adapter_configuration_is_refused(base, folder, text):
    (folder / "adapter_config.json").write_text(text)
    assert message_of(load_model(str(base)), folder).endswith("[ADP005]")


def test_a_fingerprint_reads_back_and_tells_files_apart(tmp_path):
    first, second = tmp_path / "a", tmp_path / "b"
    for folder, last in ((first, b"x"), (second, b"y")):
        folder.mkdir()
        (folder / "model.safetensors").write_bytes(bytes(3 << 20) + last)
    one, two = BaseFingerprint.of(str(first)), BaseFingerprint.of(str(second))
    one.write(tmp_path / "f.json")
    assert BaseFingerprint.read(tmp_path / "f.json") == one
    assert one.differs_from(two)
    assert not one.differs_from(BaseFingerprint.of(str(first)))


def test_a_folder_and_a_hub_id_cannot_be_compared():
    on_hub = BaseFingerprint("owner/name")
    assert not on_hub.differs_from(BaseFingerprint("/some/folder", "ab"))
    assert on_hub.differs_from(BaseFingerprint("owner/other"))


@pytest.mark.parametrize("text", ["", "[]", json.dumps({"name": 1, "weights_sha256": 2})])
def test_an_unreadable_fingerprint_stops_nothing(tmp_path, text):
    (tmp_path / "f.json").write_text(text)
    found = BaseFingerprint.read(tmp_path / "f.json")
    assert found is None or found.weights_sha256 is None
