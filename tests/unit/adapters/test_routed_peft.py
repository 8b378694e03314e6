"""The family inside PEFT and transformers: saved, loaded, switched, refused; checks by number."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
import warnings

import pytest
import torch
from peft import (
    AutoPeftModelForCausalLM,
    LoraConfig,
    PeftModel,
    PeftType,
    get_peft_model,
    get_peft_model_state_dict,
)
from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING
from safetensors.torch import load_file
from torch import nn

from pipeline.adapters.batch_tasks import active_task
from pipeline.adapters.peft_methods import register_methods
from pipeline.adapters.routed_config import CONFIGS
from tests.unit.adapters.family import (
    INPUT_IDS,
    TASK_IDS,
    VARIANTS,
    build_adapted,
    build_base,
    build_config,
    gradients_of,
    layers_of,
    logits_of,
    loss_of,
    stir,
    variant,
)


def new_ids(model, **options) -> torch.Tensor:
    given = {"max_new_tokens": 6, "do_sample": False, "min_new_tokens": 6, **options}
    return model.generate(**given)


@pytest.mark.parametrize("name", VARIANTS)
def test_check_19_a_saved_adapter_gives_the_same_logits_when_loaded(name, tmp_path):
    adapted = variant(name).eval()
    expected = logits_of(adapted)
    adapted.save_pretrained(tmp_path)
    stored = load_file(tmp_path / "adapter_model.safetensors")
    wanted = {key for key in adapted.state_dict() if "routed_" in key}
    assert {key.replace(".default", "") for key in wanted} == set(stored)
    assert all(value.numel() for value in stored.values())
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*missing.*")
        loaded = PeftModel.from_pretrained(build_base(), str(tmp_path))
    assert torch.equal(logits_of(loaded), expected)
    lean = PeftModel.from_pretrained(build_base(), str(tmp_path), low_cpu_mem_usage=True)
    assert torch.equal(logits_of(lean), expected)


def test_check_19_auto_classes_and_transformers_own_loader_read_the_folder(tmp_path):
    build_base().save_pretrained(tmp_path / "base")
    adapted = build_adapted("smora").eval()
    adapted.peft_config["default"].base_model_name_or_path = str(tmp_path / "base")
    adapted.save_pretrained(tmp_path / "adapter")
    expected = adapted(input_ids=INPUT_IDS).logits
    found = AutoPeftModelForCausalLM.from_pretrained(str(tmp_path / "adapter"))
    assert torch.equal(found(input_ids=INPUT_IDS).logits, expected)
    base = build_base().eval()
    base.load_adapter(str(tmp_path / "adapter"))
    assert torch.equal(base(input_ids=INPUT_IDS).logits, expected)
    base.save_pretrained(tmp_path / "again")
    base.delete_adapter("default")
    assert torch.equal(base(input_ids=INPUT_IDS).logits, build_base()(input_ids=INPUT_IDS).logits)
    again = PeftModel.from_pretrained(build_base(), str(tmp_path / "again"))
    assert torch.equal(again(input_ids=INPUT_IDS).logits, expected)


def test_modules_to_save_and_trainable_tokens_come_back(tmp_path):
    base = build_base()
    options = {"modules_to_save": ["norm"], "trainable_token_indices": {"embed_tokens": [3, 7]}}
    adapted = build_adapted("smora", base=base, **options)
    with torch.no_grad():
        for name, value in adapted.named_parameters():
            if value.requires_grad and "routed_" not in name:
                value.add_(torch.randn_like(value))
    adapted.save_pretrained(tmp_path)
    loaded = PeftModel.from_pretrained(build_base(), str(tmp_path))
    assert torch.equal(logits_of(loaded), logits_of(adapted))


def test_a_shared_router_stays_shared_after_loading(tmp_path):
    adapted = build_adapted("smora", share_router=True)
    adapted.save_pretrained(tmp_path)
    for options in ({}, {"low_cpu_mem_usage": True}):
        loaded = PeftModel.from_pretrained(
            build_base(), str(tmp_path), is_trainable=True, **options
        )
        assert torch.equal(logits_of(loaded), logits_of(adapted))
        attention = loaded.get_base_model().model.layers[0].self_attn
        routers = [
            getattr(attention, name).routed_router["default"].weight
            for name in ("q_proj", "k_proj", "v_proj", "o_proj")
        ]
        assert routers[0] is routers[1] is routers[2] is not routers[3]


def test_check_17_the_bias_survives_every_cast(tmp_path):
    adapted = build_adapted("smora")
    before = [layer.routed_bias["default"].clone() for layer in layers_of(adapted)]
    adapted.bfloat16().half().to(torch.float64)
    adapted.save_pretrained(tmp_path)
    loaded = PeftModel.from_pretrained(build_base(dtype=torch.bfloat16), str(tmp_path))
    for model in (adapted, loaded, copy.deepcopy(loaded)):
        for layer, wanted in zip(layers_of(model), before, strict=True):
            assert layer.routed_bias["default"].dtype == torch.int32
            assert torch.equal(layer.routed_bias["default"], wanted)


def test_check_18_the_bias_is_never_trained(tmp_path):
    adapted = build_adapted("smora")
    adapted.save_pretrained(tmp_path)
    adapted.add_adapter("other", build_config("smora", num_active_ranks=2))
    adapted.set_adapter("other")
    adapted.set_adapter("default")
    adapted.disable_adapter_layers()
    adapted.enable_adapter_layers()
    adapted.delete_adapter("other")
    loaded = PeftModel.from_pretrained(build_base(), str(tmp_path), is_trainable=True)
    for model in (adapted, loaded):
        assert not any("bias" in name for name, _ in model.named_parameters() if "routed" in name)
        loss_of(model).backward()
        assert all(layer.routed_bias["default"].grad is None for layer in layers_of(model))


@pytest.mark.parametrize("name", VARIANTS)
def test_check_21_disabled_or_unloaded_the_model_is_the_base(name):
    adapted = variant(name).eval()
    expected = build_base()(input_ids=INPUT_IDS).logits
    with adapted.disable_adapter():
        assert torch.equal(logits_of(adapted), expected)
    assert not torch.allclose(logits_of(adapted), expected)
    assert torch.equal(adapted.unload()(input_ids=INPUT_IDS).logits, expected)


def test_check_21_merging_what_depends_on_the_token_is_refused():
    adapted = build_adapted("smora")
    with pytest.raises(ValueError, match="router 'token' gives every token another update"):
        adapted.merge_and_unload()
    with pytest.raises(ValueError, match="cannot be merged into the base"):
        adapted.merge_adapter()
    with pytest.raises(ValueError, match="no single matrix stands for the adapter"):
        layers_of(adapted)[0].merge()


@pytest.mark.parametrize("name", ["smora by task", "hydra uniform", "mtlora", "mtl_lora"])
def test_check_21_merging_for_one_task_gives_the_same_logits(name):
    adapted = variant(name).eval()
    with active_task(adapted, "green"):
        expected = adapted(input_ids=INPUT_IDS).logits
        adapted.merge_adapter()
        assert torch.allclose(adapted(input_ids=INPUT_IDS).logits, expected, atol=1e-5)
        adapted.unmerge_adapter()
        assert torch.allclose(adapted(input_ids=INPUT_IDS).logits, expected, atol=1e-5)
        merged = adapted.merge_and_unload(safe_merge=True)
    assert torch.allclose(merged(input_ids=INPUT_IDS).logits, expected, atol=1e-5)


def test_check_22_two_adapters_do_not_touch_each_other():
    adapted = build_adapted("smora").eval()
    first = logits_of(adapted)
    adapted.add_adapter("other", build_config("smora", r=4, num_active_ranks=2))
    assert torch.equal(logits_of(adapted), first)
    adapted.set_adapter("other")
    second = logits_of(adapted)
    assert not torch.allclose(first, second)
    loss_of(adapted).backward()
    assert all(".other" in name for name in gradients_of(adapted))
    adapted.set_adapter("default")
    assert torch.equal(logits_of(adapted), first)
    adapted.delete_adapter("default")
    adapted.set_adapter("other")
    assert torch.equal(logits_of(adapted), second)
    assert not any(".default" in name for name in adapted.state_dict())


@pytest.mark.parametrize("name", ["smora", "moe_lora", "hydra", "mtlora", "mtl_lora"])
def test_check_23_generation_with_a_cache_equals_recomputation(name):
    adapted = variant(name).eval()
    mask = torch.ones_like(INPUT_IDS)
    with active_task(adapted, ["green", "blue"]):
        cached = new_ids(adapted, input_ids=INPUT_IDS, attention_mask=mask)
        again = new_ids(adapted, input_ids=INPUT_IDS, attention_mask=mask, use_cache=False)
    assert torch.equal(cached, again)


@pytest.mark.parametrize("name", ["smora", "mtlora"])
def test_check_23_left_padding_changes_nothing(name):
    adapted = variant(name).eval()
    short = INPUT_IDS[:1, :5]
    with active_task(adapted, "blue"):
        alone = new_ids(adapted, input_ids=short, attention_mask=torch.ones_like(short))
        padded = torch.cat([torch.zeros(1, 7, dtype=torch.int64), short], dim=1)
        mask = torch.cat([torch.zeros(1, 7, dtype=torch.int64), torch.ones_like(short)], dim=1)
        batch = torch.cat([padded, INPUT_IDS[1:]])
        both = torch.cat([mask, torch.ones_like(mask)])
        together = new_ids(adapted, input_ids=batch, attention_mask=both)
    assert torch.equal(together[0, 12:], alone[0, 5:])


def test_packed_rows_take_a_task_per_token():
    adapted = variant("mtlora").eval()
    parts = [
        logits_of(adapted, ids=INPUT_IDS[:1, :5], tasks=torch.full((1, 5), 2)),
        logits_of(adapted, ids=INPUT_IDS[:1, 5:], tasks=torch.full((1, 7), 0)),
    ]
    positions = torch.cat([torch.arange(5), torch.arange(7)])[None]
    tasks = torch.tensor([[2] * 5 + [0] * 7])
    packed = adapted(
        input_ids=INPUT_IDS[:1], position_ids=positions, adapter_task_ids=tasks, use_cache=False
    ).logits
    assert torch.allclose(packed, torch.cat(parts, dim=1), atol=1e-5)


def test_an_adapter_that_knows_tasks_wants_to_be_told():
    adapted = variant("mtlora")
    with pytest.raises(ValueError, match="needs to know the task: pass adapter_task_ids"):
        adapted(input_ids=INPUT_IDS)
    with pytest.raises(ValueError, match=r"got shape \(2, 3\) for an input of \(2, 12\)"):
        logits_of(adapted, tasks=TASK_IDS[:, :3])
    with pytest.raises(ValueError, match="no task is named 'pink', allowed red, green, blue"):
        active_task(adapted, "pink").__enter__()


def test_adapter_names_per_row_are_refused():
    adapted = build_adapted("smora").eval()
    with pytest.raises(ValueError, match="adapter_names: one adapter per row is not possible"):
        adapted(input_ids=INPUT_IDS, adapter_names=["default", "default"])


def test_a_base_under_tensor_parallelism_is_refused():
    base = build_base()
    base._tp_size = 2
    with pytest.raises(ValueError, match="split over 2 devices by tensor parallelism"):
        build_adapted("smora", base=base)


def test_fused_experts_are_refused():
    base = build_base()
    base.model.layers[0].mlp.experts = nn.Module()
    base.model.layers[0].mlp.experts.gate_up_proj = nn.Parameter(torch.zeros(2, 4, 4))
    with pytest.raises(ValueError, match="gate_up_proj: fused expert parameters cannot carry"):
        build_adapted("smora", base=base, target_modules=["q_proj", "gate_up_proj"])


def test_an_adapter_on_what_is_not_linear_is_refused():
    with pytest.raises(ValueError, match="go onto linear layers, got Embedding"):
        build_adapted("smora", target_modules=["embed_tokens"])


@pytest.mark.parametrize("options", [{"load_in_4bit": True}, {"load_in_8bit": True}])
def test_check_24_quantised_bases_train_and_reload(options, tmp_path):
    pytest.importorskip("bitsandbytes")
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    # bitsandbytes takes no narrower 4-bit layers on CPUs that multiply in bfloat16.
    build_base(width=64).save_pretrained(tmp_path / "base")

    def quantised():
        return AutoModelForCausalLM.from_pretrained(
            tmp_path / "base", quantization_config=BitsAndBytesConfig(**options)
        )

    torch.manual_seed(1)
    adapted = get_peft_model(quantised(), build_config("smora", num_active_ranks=3))
    stir(adapted)
    adapted.train()
    loss_of(adapted).backward()
    assert all(value.isfinite().all() for value in gradients_of(adapted).values())
    adapted.eval().save_pretrained(tmp_path / "adapter")
    loaded = PeftModel.from_pretrained(quantised(), str(tmp_path / "adapter")).eval()
    # bitsandbytes multiplies otherwise where gradients are wanted, as in the live adapter.
    with torch.no_grad():
        assert torch.equal(logits_of(loaded), logits_of(adapted))


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_check_25_compiled_without_graph_breaks_it_is_the_same():
    adapted = variant("smora task input")
    adapted.train()
    loss_of(adapted).backward()
    expected = gradients_of(adapted)
    torch._dynamo.reset()
    compiled = torch.compile(adapted, fullgraph=True, backend="aot_eager")
    with torch._dynamo.config.patch(recompile_limit=1):
        for _ in range(2):
            loss_of(compiled).backward()
            found = gradients_of(adapted)
    for key, value in expected.items():
        assert torch.allclose(found[key], value, atol=1e-6), key


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", ["smora", "moe_lora", "hydra", "mtlora", "mtl_lora"])
def test_check_25_a_compiled_layer_of_each_type_is_the_same(name):
    layer = layers_of(variant(name))[0].train()
    layer.batch.task_ids = TASK_IDS
    x = torch.randn(2, 12, 16, requires_grad=True)
    layer(x).square().sum().backward()
    expected = [*gradients_of(layer).values(), x.grad]
    x.grad = None
    torch._dynamo.reset()
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    with torch._dynamo.config.patch(recompile_limit=1):
        for _ in range(2):
            x.grad = None
            compiled(x).square().sum().backward()
            found = [*gradients_of(layer).values(), x.grad]
    for value, wanted in zip(found, expected, strict=True):
        assert torch.allclose(value, wanted, atol=1e-5)


def test_check_26_registering_again_changes_nothing():
    members = list(PeftType)
    register_methods()
    assert list(PeftType) == members
    for name, config in CONFIGS.items():
        member = PeftType(name.upper())
        assert member is PeftType[name.upper()]
        assert isinstance(member, PeftType)
        assert member.value == name.upper()
        assert PEFT_TYPE_TO_CONFIG_MAPPING[member] is config


def test_check_26_a_method_of_that_name_in_peft_itself_is_not_replaced(monkeypatch):
    monkeypatch.setitem(PEFT_TYPE_TO_CONFIG_MAPPING, PeftType.SMORA, LoraConfig)
    with pytest.raises(RuntimeError, match="has a method SMORA of its own"):
        register_methods()


WITHOUT_US = """
import sys

sys.modules["pipeline"] = None  # makes every import of it fail
from peft import AutoPeftModelForCausalLM, PeftConfig, PeftModel
from transformers import AutoModelForCausalLM

base, adapter = sys.argv[1:]
model = AutoModelForCausalLM.from_pretrained(base)
for load in (
    lambda: PeftConfig.from_pretrained(adapter),
    lambda: PeftModel.from_pretrained(model, adapter),
    lambda: AutoPeftModelForCausalLM.from_pretrained(adapter),
    lambda: model.load_adapter(adapter),
):
    try:
        load()
    except KeyError as error:
        print(error.args[0])
"""


def test_check_26_without_our_package_every_loader_says_what_to_install(tmp_path):
    build_base().save_pretrained(tmp_path / "base")
    build_adapted("smora").save_pretrained(tmp_path / "adapter")
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_US, str(tmp_path / "base"), str(tmp_path / "adapter")],
        capture_output=True,
        text=True,
        check=False,
    )
    said = "SMORA: install taskloom, and `import pipeline.adapters` first"
    assert done.stdout.splitlines() == [said] * 4, done.stderr


def test_check_26_a_folder_with_the_plain_name_of_a_type_loads_too(tmp_path):
    adapted = build_adapted("smora").eval()
    adapted.save_pretrained(tmp_path)
    path = tmp_path / "adapter_config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps(config | {"peft_type": "SMORA"}))
    loaded = PeftModel.from_pretrained(build_base(), str(tmp_path)).eval()
    assert torch.equal(logits_of(loaded), logits_of(adapted))


def test_check_26_pefts_own_adapters_still_load(tmp_path):
    config = LoraConfig(target_modules="all-linear", init_lora_weights=False)
    lora = get_peft_model(build_base(), config)
    lora.save_pretrained(tmp_path)
    loaded = PeftModel.from_pretrained(build_base(), str(tmp_path))
    assert torch.equal(loaded(input_ids=INPUT_IDS).logits, lora.eval()(input_ids=INPUT_IDS).logits)


def test_weights_that_an_engine_has_emptied_are_never_saved():
    adapted = build_adapted("smora")
    pieces = {name: value[:0] for name, value in adapted.state_dict().items()}
    with pytest.raises(ValueError, match="weights of the adapter are empty here"):
        get_peft_model_state_dict(adapted, state_dict=pieces)


def test_rank_and_alpha_patterns_reach_their_layers():
    adapted = build_adapted("smora", rank_pattern={"q_proj": 16}, alpha_pattern={"q_proj": 32})
    layers = adapted.get_base_model().model.layers
    assert layers[0].self_attn.q_proj.plans["default"].num_ranks == 16
    assert layers[0].self_attn.q_proj.plans["default"].scaling == pytest.approx(32 / 3)
    assert layers[0].self_attn.v_proj.plans["default"].num_ranks == 8


@pytest.mark.parametrize("name", ["smora", "mtlora"])
def test_bfloat16_bases_train_with_finite_gradients(name):
    adapted = variant(name, base=build_base(dtype=torch.bfloat16))
    adapted.train()
    loss_of(adapted).backward()
    found = gradients_of(adapted)
    assert found
    assert all(value.isfinite().all() for value in found.values())
