"""The checks every routed adapter must pass, by their numbers in the test names.

Formulas against a token-by-token reference, against PEFT's LoRA, and invariances.
"""

from __future__ import annotations

import time

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import nn

from pipeline.adapters.batch_tasks import BatchTasks, active_task
from pipeline.adapters.fused import Factors, add_update
from pipeline.adapters.model_loads import drain_loads
from pipeline.adapters.routed_layer import RoutedLinear
from pipeline.adapters.routing import Extras, compute_gates, select_experts
from pipeline.adapters.routing_plan import build_plan
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
    slow_update,
    stir,
    variant,
)


def build_layer(kind: str, *, dtype=torch.float32, seed=0, **options) -> RoutedLinear:
    """A layer of 10 inputs and 6 outputs that has nothing neutral left."""
    torch.manual_seed(seed)
    if kind == "smora":
        options = {"num_active_ranks": 3, **options}
    config = build_config(kind, **options)
    layer = RoutedLinear(nn.Linear(10, 6), BatchTasks(), quantization_kwargs={})
    layer.base_layer.requires_grad_(False)
    layer.set_adapter("default")
    layer.update_layer(
        "default", build_plan(config, r=config.r, lora_alpha=config.lora_alpha), init_weights=False
    )
    stir(layer)
    return layer.to(dtype)


def tensors(layer: RoutedLinear) -> dict[str, torch.Tensor]:
    return {name: value for name, value in layer.named_parameters() if value.requires_grad}


def run_both(layer: RoutedLinear, x: torch.Tensor, ids: torch.Tensor) -> list[tuple]:
    """Outputs and gradients of the layer and of the token-by-token reference."""
    weight = torch.randn(x.shape[0], 6, dtype=x.dtype)
    found = []
    for update in (
        lambda given: layer(given),
        lambda given: layer.base_layer(given) + slow_update(layer, given, ids),
    ):
        given = x.clone().requires_grad_()
        layer.batch.task_ids = ids
        output = update(given)
        (output * weight).sum().backward()
        gradients = {name: value.grad.clone() for name, value in tensors(layer).items()}
        layer.zero_grad()
        found.append((output.detach(), given.grad, gradients))
    return found


@pytest.mark.parametrize("name", VARIANTS)
def test_check_03_the_fused_layer_equals_the_formula_token_by_token(name):
    kind, options = VARIANTS[name]
    layer = build_layer(kind, dtype=torch.float64, **options)
    x, ids = torch.randn(9, 10, dtype=torch.float64), torch.tensor([0, 1, 2, 2, 1, 0, -1, 1, 0])
    (output, d_x, gradients), (expected, d_expected, wanted) = run_both(layer, x, ids)
    # Gates are rounded to float32 where they come from task tables.
    assert torch.allclose(output, expected, atol=3e-7, rtol=0)
    assert torch.allclose(d_x, d_expected, atol=3e-7, rtol=0)
    assert gradients.keys() == wanted.keys()
    for weight in wanted:
        assert torch.allclose(gradients[weight], wanted[weight], atol=1e-6, rtol=1e-6), weight


@pytest.mark.parametrize("name", VARIANTS)
def test_check_03_float32_gradients_agree_with_the_composed_operations(name, monkeypatch):
    kind, options = VARIANTS[name]
    x, ids = torch.randn(9, 10), torch.tensor([0, 1, 2, 2, 1, 0, -1, 1, 0])
    found = []
    for composed in (False, True):
        monkeypatch.setattr(torch.compiler, "is_compiling", lambda composed=composed: composed)
        layer = build_layer(kind, **options)
        layer.batch.task_ids = ids
        given = x.clone().requires_grad_()
        output = layer(given)
        (output * torch.linspace(-1e-2, 1e-2, 6)).sum().backward()
        gradients = {key: value.grad for key, value in tensors(layer).items()}
        found.append((output, gradients | {"x": given.grad}))
    assert torch.allclose(found[0][0], found[1][0], atol=3e-7, rtol=0)
    for key, value in found[0][1].items():
        assert torch.allclose(value, found[1][1][key], atol=3e-8, rtol=1e-6), key


@pytest.mark.parametrize("name", ["smora", "moe_lora", "hydra", "smora low rank"])
def test_check_03_the_function_passes_gradcheck(name):
    kind, options = VARIANTS[name]
    layer = build_layer(kind, dtype=torch.float64, **options)
    plan = layer.plans["default"]

    def function(result, x, a, b, router):
        extras = Extras(bias=layer.routed_bias["default"] if plan.selects else None)
        return add_update(plan, result, x, factors=Factors(a, b, router), extras=extras)

    inputs = [torch.randn(4, 6), torch.randn(4, 10)]
    weights = [layer.routed_A, layer.routed_B, layer.routed_router]
    inputs += [modules["default"].weight.detach() for modules in weights]
    given = [value.double().requires_grad_() for value in inputs]
    # Steps small enough that the selection does not change.
    assert torch.autograd.gradcheck(function, given, eps=1e-7, atol=1e-5)


def test_check_01_all_ranks_with_uniform_gates_is_peft_lora_bit_for_bit():
    common = {"r": 8, "lora_alpha": 16, "target_modules": "all-linear", "task_type": "CAUSAL_LM"}
    lora = get_peft_model(build_base(), LoraConfig(init_lora_weights=False, **common))
    ours = build_adapted("smora", router="uniform", num_active_ranks=None, lora_alpha=16)
    plain = dict(lora.named_parameters())
    with torch.no_grad():
        for name, value in ours.named_parameters():
            if "routed_" in name:
                value.copy_(plain[name.replace("routed_", "lora_")])
    assert torch.equal(logits_of(ours), lora(input_ids=INPUT_IDS).logits)
    loss_of(ours).backward()
    lora(input_ids=INPUT_IDS, labels=INPUT_IDS, use_cache=False).loss.backward()
    found, wanted = gradients_of(ours), gradients_of(lora)
    assert len(found) == len(wanted) > 0
    for name, value in found.items():
        assert torch.equal(value, wanted[name.replace("routed_", "lora_")]), name


def test_check_01_all_ranks_with_equal_scores_is_lora_too():
    uniform = build_adapted("smora", router="uniform", num_active_ranks=None)
    routed = build_adapted("smora", num_active_ranks=None)
    with torch.no_grad():
        weights = dict(uniform.named_parameters())
        for name, value in routed.named_parameters():
            value.copy_(torch.zeros_like(value) if "router" in name else weights[name])
    assert torch.allclose(logits_of(routed), logits_of(uniform), atol=1e-6)


def test_mtlora_without_task_ranks_is_lora():
    mtlora = build_adapted("mtlora", task_rank=0)
    uniform = build_adapted("smora", router="uniform", num_active_ranks=None)
    uniform.load_state_dict(mtlora.state_dict())
    assert torch.equal(logits_of(mtlora), logits_of(uniform))


@pytest.mark.parametrize("name", VARIANTS)
def test_check_02_with_b_at_zero_the_output_is_the_bases(name):
    adapted = variant(name, init_weights=True)
    expected = build_base()(input_ids=INPUT_IDS).logits
    assert torch.equal(logits_of(adapted), expected)


@pytest.mark.parametrize("name", VARIANTS)
def test_every_weight_is_in_the_graph_even_of_absent_tasks(name):
    adapted = variant(name)
    adapted.train()
    loss_of(adapted, tasks=torch.zeros_like(TASK_IDS)).backward()
    missing = [
        key
        for key, value in adapted.named_parameters()
        if value.requires_grad and value.grad is None
    ]
    assert not missing


def test_check_04_only_selected_rows_get_gradient():
    layer = build_layer("smora", num_active_ranks=2, r=8)
    layer.batch.task_ids = None
    x = torch.randn(3, 10)
    router = layer.routed_router["default"].weight.detach()
    index = select_experts(
        layer.plans["default"], x @ router.T, Extras(bias=layer.routed_bias["default"])
    )
    used = set(index.flatten().tolist())
    assert len(used) < 8
    layer(x).square().sum().backward()
    for rank in range(8):
        a, b = layer.routed_A["default"].weight.grad, layer.routed_B["default"].weight.grad
        parts = (a[rank], b[:, rank], layer.routed_router["default"].weight.grad[rank])
        for part in parts:
            assert bool(part.abs().sum() > 0) == (rank in used)


def test_check_05_each_token_uses_k_ranks_and_its_gates_sum_to_k():
    plan = build_plan(build_config("smora", num_active_ranks=3), r=8, lora_alpha=8)
    logits = torch.randn(50, 8)
    index = select_experts(plan, logits, Extras())
    assert index.shape == (50, 3)
    assert all(len(set(row.tolist())) == 3 for row in index)
    gates = compute_gates(plan, logits.gather(1, index), index, Extras())
    assert torch.allclose(gates.sum(dim=1), torch.tensor(3.0), atol=1e-5)


def test_check_05_gates_stay_finite_when_all_scores_underflow():
    plan = build_plan(build_config("smora", num_active_ranks=3), r=8, lora_alpha=8)
    picked = torch.full((4, 3), -1000.0, requires_grad=True)
    gates = compute_gates(plan, picked, torch.zeros(4, 3, dtype=torch.int64), Extras())
    gates.sum().backward()
    assert torch.isfinite(gates).all()
    assert torch.isfinite(picked.grad).all()


def test_check_07_a_common_shift_of_the_bias_changes_nothing():
    adapted = build_adapted("smora")
    before = logits_of(adapted)
    for layer in layers_of(adapted):
        layer.routed_bias["default"] += 5 * 2**20
    assert torch.equal(logits_of(adapted), before)


def test_check_13_permuting_ranks_changes_nothing():
    layer = build_layer("smora")
    x, order = torch.randn(20, 10), torch.randperm(8)
    before = layer(x)
    with torch.no_grad():
        for modules, dim in ((layer.routed_A, 0), (layer.routed_B, 1), (layer.routed_router, 0)):
            weight = modules["default"].weight
            weight.copy_(weight.index_select(dim, order))
        layer.routed_bias["default"] = layer.routed_bias["default"][order]
    assert torch.allclose(layer(x), before, atol=2e-7, rtol=1e-6)


@pytest.mark.parametrize("name", VARIANTS)
def test_check_14_a_row_alone_gives_what_it_gives_in_a_batch(name):
    adapted = variant(name)
    together = logits_of(adapted)
    alone = logits_of(adapted, ids=INPUT_IDS[1:], tasks=TASK_IDS[1:])
    assert torch.allclose(together[1:], alone, atol=1e-5)


def test_check_15_the_same_seed_gives_the_same_bits_under_deterministic_algorithms():
    torch.use_deterministic_algorithms(True)
    try:
        runs = []
        for _ in range(2):
            adapted = build_adapted("smora", lora_dropout=0.2)
            adapted.train()
            torch.manual_seed(3)
            loss = loss_of(adapted)
            loss.backward()
            runs.append((loss.detach(), gradients_of(adapted)))
    finally:
        torch.use_deterministic_algorithms(False)
    assert torch.equal(runs[0][0], runs[1][0])
    assert all(torch.equal(value, runs[1][1][name]) for name, value in runs[0][1].items())


def test_check_16_bfloat16_selects_the_same_ranks_and_gives_nearly_the_same_update():
    torch.manual_seed(0)
    config = build_config("smora", num_active_ranks=8, r=64)
    layer = RoutedLinear(nn.Linear(256, 128), BatchTasks(), quantization_kwargs={})
    layer.set_adapter("default")
    layer.update_layer("default", build_plan(config, r=64, lora_alpha=64), init_weights=False)
    x = torch.randn(512, 256).bfloat16()
    plan, router = layer.plans["default"], layer.routed_router["default"].weight
    # Inputs and stored weights are rounded, logits are not.
    exact = select_experts(plan, x.float() @ router.T, Extras())
    rounded = select_experts(plan, x.float() @ router.bfloat16().float().T, Extras())
    same = [set(a) == set(b) for a, b in zip(exact.tolist(), rounded.tolist(), strict=True)]
    assert sum(same) / len(same) > 0.95
    zero = torch.zeros(512, 128)
    weights = [modules["default"].weight for modules in (layer.routed_A, layer.routed_B)]
    whole = add_update(plan, zero, x.float(), factors=Factors(*weights, router), extras=Extras())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = add_update(plan, zero, x, factors=Factors(*weights, router), extras=Extras())
    assert ((half - whole).norm() / whole.norm()).item() < 0.02


def test_check_16_logits_are_float32_under_autocast():
    torch.manual_seed(0)
    layer = build_layer("smora", r=64, num_active_ranks=8, task_names=[])
    x = torch.randn(64, 10)
    layer.batch.task_ids = None
    layer.train()
    counts = []
    for autocast in (False, True):
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
            layer(x.requires_grad_()).sum().backward()
        table = layer.loads["default"]
        counts.append(table.sums(x.device).clone())
        table.clear()
    assert torch.equal(*counts)


def test_check_27_the_paper_preset_is_the_released_formula():
    """Scores sigmoid(R x) + b select and gate; gates k z / sum z; scale alpha / k."""
    layer = build_layer("smora", preset="paper", num_active_ranks=3, lora_alpha=16)
    x = torch.randn(7, 10)
    a, b = layer.routed_A["default"].weight, layer.routed_B["default"].weight
    z = torch.sigmoid(x @ layer.routed_router["default"].weight.T)
    z = z + layer.routed_bias["default"] / 2**20
    chosen = z >= z.sort(dim=1, descending=True).values[:, 2:3]
    gates = 3 * z * chosen / (z * chosen).sum(dim=1, keepdim=True)
    expected = layer.base_layer(x) + 16 / 3 * ((x @ a.T) * gates) @ b.T
    assert torch.allclose(layer(x), expected, atol=1e-5)
    config = build_config("smora", preset="paper")
    assert (config.balance_rate, config.balance_centred, config.balance_until) == (1e-5, False, 1.0)


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        ("smora", {"num_active_ranks": 9}, "num_active_ranks: got 9, allowed multiples of 1"),
        ("moe_lora", {"block_size": 3, "num_active_ranks": 3}, "allowed a multiple of block_size"),
        ("moe_lora", {"block_size": 4, "num_active_ranks": 6}, "allowed multiples of 4 from 4"),
        ("hydra", {"num_active_ranks": 4}, "num_b_factors: several B factors use all ranks"),
        (
            "smora",
            {"num_active_ranks": 3, "task_groups": [["red"], ["blue"]], "ranks_per_group": 3},
            "ranks_per_group: 2 groups of 3 ranks leave too few",
        ),
    ],
)
def test_check_28_numbers_that_do_not_fit_are_refused(kind, options, message):
    with pytest.raises(ValueError, match=message):
        build_adapted(kind, **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"r": 0}, "r: got 0, allowed 1 or more"),
        ({"target_parameters": ["experts.down_proj"]}, "fused expert parameters cannot carry"),
        ({"bias": "all"}, "bias: got 'all'"),
        ({"gate_source": "biased", "score": "softmax"}, "'biased' needs score 'sigmoid'"),
        ({"normalise_gates": False, "score": "softmax"}, "only sigmoid gates"),
        ({"router": "task", "task_names": []}, "needs their names"),
        ({"router": "uniform", "router_low_rank": True}, "router_low_rank: got router 'uniform'"),
        ({"router": "task", "router_task_input": True}, "router_task_input: got router 'task'"),
        ({"task_names": ["red", "red"]}, "a name stands twice"),
        ({"task_groups": [["red"]]}, "task_groups and ranks_per_group need each other"),
        ({"task_groups": [["pink"]], "ranks_per_group": 1}, "no task is named 'pink'"),
        ({"task_groups": [["red"], ["red"]], "ranks_per_group": 1}, "stands in two groups"),
    ],
)
def test_fields_that_contradict_each_other_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        build_config("smora", **options)


@pytest.mark.parametrize("shape", [(0, 10), (5, 10), (2, 0, 10), (2, 3, 10)])
def test_check_28_empty_batches_and_inputs_without_rows_work(shape):
    layer = build_layer("smora")
    layer.train()
    x = torch.randn(shape, requires_grad=True)
    layer(x).sum().backward()
    assert x.grad.shape == shape
    assert layer.routed_router["default"].weight.grad is not None


def test_tokens_without_a_task_use_only_what_is_open_to_all():
    layer = build_layer("mtlora", task_rank=2)
    x = torch.randn(3, 10)
    layer.batch.task_ids = torch.tensor([-1, -1, -1])
    a, b = layer.routed_A["default"].weight[:8], layer.routed_B["default"].weight[:, :8]
    assert torch.allclose(layer(x), layer.base_layer(x) + x @ a.T @ b.T, atol=1e-6)


def test_tasks_use_no_experts_of_another_group():
    options = {"num_active_ranks": 2, "task_groups": [["red"], ["blue"]], "ranks_per_group": 2}
    adapted = build_adapted("smora", **options)
    adapted.train()
    loss_of(adapted).backward()
    for load in drain_loads(adapted):
        red, green, blue = load.by_task[0], load.by_task[1], load.by_task[2]
        assert red[6:].sum() == 0
        assert green[4:].sum() == 0
        assert blue[4:6].sum() == 0
        assert min(red.sum(), green.sum(), blue.sum()) > 0


def test_normalised_ranks_make_the_update_independent_of_the_scale_of_a():
    layer = build_layer("smora", normalise_ranks=True, router="token", task_names=[])
    x = torch.randn(6, 10)
    before = layer(x)
    with torch.no_grad():
        layer.routed_A["default"].weight.mul_(100)
    assert torch.allclose(layer(x), before, atol=1e-4)


def test_a_feature_gate_changes_nothing_at_the_start():
    torch.manual_seed(1)
    gated = get_peft_model(build_base(), build_config("smora", feature_gate=True))
    torch.manual_seed(1)
    plain = get_peft_model(build_base(), build_config("smora"))
    values = dict(gated.named_parameters())
    with torch.no_grad():
        for name, value in plain.named_parameters():
            value.copy_(values[name])
    assert torch.allclose(logits_of(gated), logits_of(plain), atol=1e-6)


def test_saved_activations_are_at_most_twice_those_of_lora():
    def saved_bytes(model) -> int:
        seen = {value.data_ptr() for value in model.parameters()}
        total = 0

        def pack(tensor):
            nonlocal total
            pointer = tensor.untyped_storage().data_ptr()
            if pointer not in seen:
                seen.add(pointer)
                total += tensor.untyped_storage().nbytes()
            return tensor

        x = torch.randn(512, 256, requires_grad=True)
        seen.add(x.untyped_storage().data_ptr())
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            loss = model(x).sum()
        # Outside: what the backward pass keeps for itself is gone at its end.
        loss.backward()
        return total

    class One(nn.Module):
        def __init__(self):
            super().__init__()
            self.proj = nn.Linear(256, 256)

        def forward(self, x):
            return self.proj(x)

    lora = get_peft_model(One(), LoraConfig(r=64, target_modules=["proj"]))
    smora = build_config("smora", r=64, num_active_ranks=8, target_modules=["proj"], task_type=None)
    assert saved_bytes(get_peft_model(One(), smora)) <= 1.2 * saved_bytes(lora)


@pytest.mark.parametrize("name", VARIANTS)
def test_active_task_equals_task_ids_of_every_token(name):
    adapted = variant(name)
    for number, task in enumerate(("red", "green", "blue")):
        with active_task(adapted, task):
            found = adapted(input_ids=INPUT_IDS).logits
        assert torch.equal(found, logits_of(adapted, tasks=torch.full_like(TASK_IDS, number)))


@pytest.mark.parametrize("name", VARIANTS)
def test_check_09_padding_changes_no_logits_of_other_tokens(name):
    adapted = variant(name).eval()
    alone = logits_of(adapted, ids=INPUT_IDS[:1, :7], tasks=TASK_IDS[:1, :7])
    mask = (torch.arange(12) < 7).long()[None]
    padded = logits_of(adapted, ids=INPUT_IDS[:1], tasks=TASK_IDS[:1], attention_mask=mask)
    assert torch.allclose(padded[:, :7], alone, atol=1e-5)


@pytest.mark.slow
def test_check_30_a_step_costs_at_most_a_quarter_more_than_one_of_lora():
    x = torch.randn(512, 1024, requires_grad=True)
    options = {"r": 64, "target_modules": ["0"]}
    layers = [
        get_peft_model(nn.Sequential(nn.Linear(1024, 1024)), config)
        for config in (
            LoraConfig(init_lora_weights=False, **options),
            build_config("smora", num_active_ranks=8, task_type=None, **options),
        )
    ]

    def seconds(layer: nn.Module) -> float:
        started = time.process_time()
        layer(x).sum().backward()
        return time.process_time() - started

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        # In turns, and the least of each: other work on the machine hits both alike.
        rounds = [[seconds(layer.train()) for layer in layers] for _ in range(12)]
    finally:
        torch.set_num_threads(threads)
    lora, smora = (min(each) for each in zip(*rounds, strict=True))
    assert smora <= 1.25 * lora
