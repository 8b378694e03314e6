"""Merged adapters: exact sums, the best cut, rules by hand, PEFT as the judge, refusals."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from peft.utils import merge_utils
from safetensors.torch import load_file, save_file

from pipeline.adapters.base_fingerprint import BASE_MODEL_FILE, BaseFingerprint
from pipeline.adapters.merging.factors import Expert, Factors, check_mergeable, load_expert
from pipeline.adapters.merging.fold import fold, from_weight, recompress, spread
from pipeline.adapters.merging.rules import RULES, RuleSettings, merge_by_rule
from pipeline.adapters.registry import load_adapter
from pipeline.cli.main import main
from pipeline.errors import AdapterError, PipelineErrors
from pipeline.models.loading import load_model
from tests.fixtures.tiny_models import save_tiny_model

INPUT = torch.arange(12).reshape(1, 12)


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("base"))


def save_expert(base: Path, folder: Path, *, seed: int, **options: object) -> Path:
    torch.manual_seed(seed)
    config = LoraConfig(
        task_type="CAUSAL_LM",
        **{"r": 4, "lora_alpha": 8, "target_modules": ["q_proj", "up_proj"], **options},
    )
    model = get_peft_model(load_model(str(base)), config)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    model.save_pretrained(folder)
    BaseFingerprint.of(str(base)).write(folder / BASE_MODEL_FILE)
    return folder


@pytest.fixture(scope="module")
def folders(base, tmp_path_factory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("experts")
    return {
        "a": save_expert(base, root / "a", seed=1),
        "b": save_expert(
            base, root / "b", seed=2, r=3, lora_alpha=5, target_modules=["q_proj", "v_proj"]
        ),
        "c": save_expert(base, root / "c", seed=3, r=2, lora_alpha=4, use_rslora=True),
    }


def logits(model) -> torch.Tensor:
    model.eval()
    with torch.no_grad():
        return model(INPUT).logits


def delta(factors: Factors) -> torch.Tensor:
    return factors.B @ factors.A


def random_expert(name: str, *, seed: int, rank: int, dtype=torch.float64) -> Expert:
    generator = torch.Generator().manual_seed(seed)
    A = torch.randn(rank, 20, generator=generator, dtype=dtype)
    B = torch.randn(30, rank, generator=generator, dtype=dtype)
    return Expert(
        name=name,
        folder=Path(name),
        modules={"layers.0.q": Factors(A, B), "layers.1.q": Factors(A * 2, B)},
        base=BaseFingerprint("base"),
        weights_sha256="",
    )


def test_a_fold_is_the_weighted_sum_of_the_changes_to_1e_12():
    experts = [random_expert("a", seed=1, rank=3), random_expert("b", seed=2, rank=5)]
    folded = fold(experts, spread(experts, {"a": 0.7, "b": -0.4}))
    for module, factors in folded.items():
        expected = sum(
            weight * delta(expert.modules[module])
            for weight, expert in zip((0.7, -0.4), experts, strict=True)
        )
        assert factors.rank == 8
        assert (delta(factors) - expected).abs().max() <= 1e-12 * expected.abs().max()


def test_coefficients_may_differ_per_module_and_per_output_channel():
    experts = [random_expert("a", seed=1, rank=3), random_expert("b", seed=2, rank=5)]
    channels = torch.linspace(-1, 1, 30, dtype=torch.float64)
    folded = fold(
        experts, {"a": {"layers.0.q": channels, "layers.1.q": 2.0}, "b": {"layers.0.q": 0.5}}
    )
    first = channels[:, None] * delta(experts[0].modules["layers.0.q"])
    first = first + 0.5 * delta(experts[1].modules["layers.0.q"])
    assert torch.allclose(delta(folded["layers.0.q"]), first, atol=1e-12)
    assert torch.equal(delta(folded["layers.1.q"]), 2.0 * delta(experts[0].modules["layers.1.q"]))


def test_cutting_the_rank_is_the_truncated_svd_of_the_whole_change():
    expert = random_expert("a", seed=1, rank=9)
    factors = expert.modules["layers.0.q"]
    cut = recompress(factors, 4)
    left, values, right = torch.linalg.svd(delta(factors), full_matrices=False)
    best = left[:, :4] @ torch.diag(values[:4]) @ right[:4]
    assert torch.allclose(delta(cut.factors), best, atol=1e-11)
    lost = torch.linalg.norm(delta(factors) - delta(cut.factors)) / torch.linalg.norm(values)
    assert cut.tail == pytest.approx(float(lost), rel=1e-9)
    assert cut.factors.rank == 4


def test_cutting_to_the_own_rank_loses_nothing_even_if_the_rank_exceeds_the_width():
    wide = Factors(torch.randn(50, 8, dtype=torch.float64), torch.randn(6, 50, dtype=torch.float64))
    cut = recompress(wide, 50)
    assert cut.factors.rank <= 50
    assert torch.allclose(delta(cut.factors), delta(wide), atol=1e-11)
    assert cut.tail == pytest.approx(0, abs=1e-12)


def test_a_full_change_is_cut_to_its_largest_singular_values():
    change = torch.diag(torch.tensor([3.0, 2.0, 1.0]))
    cut = from_weight(change, 2)
    assert torch.allclose(delta(cut.factors), torch.diag(torch.tensor([3.0, 2.0, 0.0])), atol=1e-6)
    assert cut.tail == pytest.approx((1 / 14) ** 0.5, rel=1e-6)


GENERATOR = torch.Generator()


def test_ties_trims_elects_and_averages_as_worked_out_by_hand():
    changes = torch.tensor([[[4.0, -1.0, 3.0, 0.5]], [[-1.0, -3.0, 5.0, 2.0]]])
    # trimmed to half: [4 0 3 0] and [0 -3 5 0]; signs + - + ; means of the agreeing entries
    merged = RULES["ties"](changes, torch.ones(2), 0.5, GENERATOR)
    assert merged.tolist() == [[4.0, -3.0, 4.0, 0.0]]


def test_ties_lets_the_larger_sum_choose_the_sign():
    changes = torch.tensor([[[2.0]], [[-5.0]], [[1.0]]])
    assert RULES["ties"](changes, torch.ones(3), 1.0, GENERATOR).tolist() == [[-5.0]]
    assert RULES["ties"](changes, torch.tensor([3.0, 1, 1]), 1.0, GENERATOR).tolist() == [[3.5]]


def test_magnitude_keeps_the_largest_entries_and_adds_them_up():
    changes = torch.tensor([[[4.0, -1.0, 3.0, 0.5]], [[-1.0, -3.0, 5.0, 2.0]]])
    merged = RULES["magnitude"](changes, torch.tensor([1.0, 0.5]), 0.5, GENERATOR)
    assert merged.tolist() == [[4.0, -1.5, 5.5, 0.0]]


def test_dare_keeps_the_mean_and_repeats_with_its_seed():
    changes = torch.ones(1, 200, 200)
    weights = torch.ones(1)
    merged = [
        RULES["dare"](changes, weights, 0.25, torch.Generator().manual_seed(seed))
        for seed in (1, 1, 2)
    ]
    assert torch.equal(merged[0], merged[1])
    assert not torch.equal(merged[0], merged[2])
    assert set(merged[0].unique().tolist()) == {0.0, 4.0}
    # 40,000 draws: the standard error of the mean is sqrt(3 / 40,000) = 0.009
    assert float(merged[0].mean()) == pytest.approx(1.0, abs=0.04)


def test_rules_at_full_density_are_the_plain_sum_or_mean():
    experts = [random_expert(name, seed=seed, rank=2, dtype=torch.float32) for name, seed in
               (("a", 1), ("b", 2))]  # fmt: skip
    weights = {"a": 0.5, "b": 0.5}
    plain = fold(experts, spread(experts, weights))
    for rule in ("magnitude", "dare"):
        merged = merge_by_rule(
            experts, rule, weights=weights, rank=4, settings=RuleSettings(density=1.0)
        )
        for module, factors in plain.items():
            assert torch.allclose(delta(merged[module].factors), delta(factors), atol=1e-4)


@pytest.mark.parametrize(("density", "weight"), [(0.5, 1.0), (0.2, 0.3), (1.0, 1.0)])
def test_ties_and_magnitude_agree_with_pefts_rules_on_whole_changes(density, weight):
    changes = torch.randn(3, 20, 30, generator=torch.Generator().manual_seed(5))
    weights = torch.full((3,), weight)
    for rule, theirs in (("ties", merge_utils.ties), ("magnitude", merge_utils.magnitude_prune)):
        expected = theirs(list(changes), weights, density)
        merged = RULES[rule](changes, weights, density, GENERATOR)
        assert torch.allclose(merged, expected, atol=1e-6), rule


def run(arguments: list[str]) -> int:
    with pytest.raises(SystemExit) as done:
        main(arguments)
    return int(done.value.code or 0)


def write_recipe(path: Path, folders: dict[str, Path], **fields: object) -> str:
    adapters = [{"name": name, "path": str(folder)} for name, folder in folders.items()]
    path.write_text(json.dumps({"adapters": adapters, **fields}))
    return str(path)


def expected_logits(base: Path, folders: dict[str, Path], weights: dict[str, float]):
    """Return the logits of the base with the changes added by hand, from PEFT's own scaling."""
    model = load_model(str(base))
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    for name, folder in folders.items():
        peft = PeftModel.from_pretrained(load_model(str(base)), str(folder))
        for module_name, module in peft.named_modules():
            if hasattr(module, "get_delta_weight"):
                key = module_name.removeprefix("base_model.model.") + ".weight"
                state[key] += weights[name] * module.get_delta_weight("default").detach()
    model.load_state_dict(state)
    return logits(model)


def test_a_merged_folder_loads_in_peft_and_gives_the_sum_of_the_changes(base, folders, tmp_path):
    out = tmp_path / "merged"
    recipe = write_recipe(tmp_path / "merge.yaml", folders, weight=0.5, output_dir=str(out))
    assert run(["merge", recipe]) == 0
    merged = load_adapter(load_model(str(base)), out)
    expected = expected_logits(base, folders, dict.fromkeys(folders, 0.5))
    assert torch.allclose(logits(merged), expected, atol=1e-5)
    assert not torch.allclose(logits(merged), logits(load_model(str(base))), atol=1e-3)
    record = json.loads((out / "merge.json").read_text())
    assert [source["name"] for source in record["sources"]] == ["a", "b", "c"]
    assert record["coefficients"] == {"a": 0.5, "b": 0.5, "c": 0.5}


def test_our_sum_agrees_with_pefts_cat_where_peft_is_right(base, folders, tmp_path):
    pair = {name: folders[name] for name in ("a", "b")}
    out = tmp_path / "merged"
    recipe = write_recipe(tmp_path / "merge.yaml", pair, weight=0.3, output_dir=str(out))
    assert run(["merge", recipe]) == 0
    model = PeftModel.from_pretrained(load_model(str(base)), str(pair["a"]), adapter_name="a")
    model.load_adapter(str(pair["b"]), adapter_name="b")
    model.add_weighted_adapter(["a", "b"], [0.3, 0.3], "both", combination_type="cat")
    model.set_adapter("both")
    merged = load_adapter(load_model(str(base)), out)
    assert torch.allclose(logits(merged), logits(model), atol=1e-5)


def test_our_cut_agrees_with_pefts_svd(base, folders, tmp_path):
    pair = {"a": folders["a"], "d": save_expert(base, tmp_path / "d", seed=9)}
    out = tmp_path / "merged"
    recipe = write_recipe(tmp_path / "merge.yaml", pair, weight=0.5, output_dir=str(out))
    assert run(["merge", recipe, "--rank", "3"]) == 0
    model = PeftModel.from_pretrained(load_model(str(base)), str(pair["a"]), adapter_name="a")
    model.load_adapter(str(pair["d"]), adapter_name="d")
    model.add_weighted_adapter(
        ["a", "d"], [0.5, 0.5], "cut", combination_type="svd", svd_rank=3, svd_full_matrices=False
    )
    model.set_adapter("cut")
    merged = load_adapter(load_model(str(base)), out)
    assert torch.allclose(logits(merged), logits(model), atol=1e-4)


def test_a_vertex_preference_is_that_adapter_exactly(base, folders, tmp_path):
    recipe = write_recipe(tmp_path / "merge.yaml", folders)
    out = tmp_path / "b"
    assert run(["prefer", recipe, "--weights", "b=1", "--out", str(out)]) == 0
    merged, alone = load_expert("merged", out), load_expert("b", folders["b"])
    assert set(merged.modules) == set(alone.modules)
    for module, factors in alone.modules.items():
        assert torch.equal(merged.modules[module].A, factors.A)
        assert torch.equal(merged.modules[module].B, factors.B)


def test_preferences_average_the_changes_of_the_weights(folders, tmp_path):
    recipe = write_recipe(tmp_path / "merge.yaml", folders)
    out = tmp_path / "ab"
    assert run(["prefer", recipe, "--weights", "a=0.7,b=0.3", "--out", str(out)]) == 0
    merged = load_expert("merged", out)
    experts = {name: load_expert(name, folder) for name, folder in folders.items()}
    for module, factors in merged.modules.items():
        expected = sum(
            weight * delta(experts[name].modules[module])
            for name, weight in (("a", 0.7), ("b", 0.3))
            if module in experts[name].modules
        )
        assert torch.allclose(delta(factors), expected, atol=1e-6)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ("x=1", "no adapter is called 'x'"),
        ("a=0.7", "the preferences add up to 0.7, allowed is 1"),
        ("a=2,b=-1", "a is '2', allowed is 0 to 1"),
        ("a=one", "a is 'one', allowed is 0 to 1"),
    ],
)
def test_preferences_that_are_no_shares_are_refused(weights, message, folders, tmp_path, capsys):
    recipe = write_recipe(tmp_path / "merge.yaml", folders)
    assert run(["prefer", recipe, "--weights", weights, "--out", str(tmp_path / "o")]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize("method", ["ties", "dare", "dare_ties", "magnitude"])
def test_every_rule_writes_a_folder_that_loads(method, base, folders, tmp_path, capsys):
    out = tmp_path / "merged"
    recipe = write_recipe(tmp_path / "merge.yaml", folders, method=method, output_dir=str(out))
    assert run(["merge", recipe]) == 0
    merged = load_adapter(load_model(str(base)), out)
    assert torch.isfinite(logits(merged)).all()
    assert "cutting the rank lost" in capsys.readouterr().out


def changed(folder: Path, target: Path, **config: object) -> Path:
    """Copy an adapter with other fields in its configuration."""
    target.mkdir(parents=True)
    for name in ("adapter_model.safetensors", BASE_MODEL_FILE):
        (target / name).write_bytes((folder / name).read_bytes())
    value = json.loads((folder / "adapter_config.json").read_text())
    (target / "adapter_config.json").write_text(json.dumps({**value, **config}))
    return target


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ({"use_dora": True}, "DoRA"),
        ({"peft_type": "SMORA"}, "export it as plain LoRA first"),
        ({"modules_to_save": ["lm_head"]}, "trains \\['lm_head'\\] in full"),
        ({"trainable_token_indices": [1]}, "token rows"),
        ({"bias": "all"}, "biases"),
        *(
            ({"init_lora_weights": start}, f"started with '{start}'")
            for start in ("pissa", "pissa_niter_4", "olora", "corda", "loftq", "lora_ga")
        ),
        ({"alora_invocation_tokens": [1, 2]}, "from certain tokens on"),
        ({"use_qalora": True}, "QALoRA"),
        ({"target_parameters": ["weight"]}, "no layers"),
        ({"arrow_config": {"top_k": 2}}, "routes between adapters"),
    ],
)
def test_adapters_that_are_no_plain_lora_are_refused_with_the_reason(
    config, reason, folders, tmp_path
):
    with pytest.raises(AdapterError, match=rf"{reason}.*ADP020"):
        load_expert("x", changed(folders["a"], tmp_path / "x", **config))


@pytest.mark.parametrize("start", [True, False, "gaussian", "eva", "orthogonal", None])
def test_starts_that_leave_the_base_alone_can_be_merged(start, folders, tmp_path):
    load_expert("x", changed(folders["a"], tmp_path / "x", init_lora_weights=start))


def test_other_weights_in_the_folder_are_refused(folders, tmp_path):
    folder = changed(folders["a"], tmp_path / "x")
    tensors = load_file(folder / "adapter_model.safetensors")
    save_file({**tensors, "extra": torch.zeros(2, 2)}, folder / "adapter_model.safetensors")
    with pytest.raises(AdapterError, match=r"it holds extra.*ADP020"):
        load_expert("x", folder)


def test_adapters_of_different_bases_or_shapes_are_refused_all_at_once(folders, tmp_path):
    other = changed(folders["a"], tmp_path / "x")
    BaseFingerprint("another", "0" * 64).write(other / BASE_MODEL_FILE)
    first, second = load_expert("a", folders["a"]), load_expert("x", other)
    with pytest.raises(AdapterError, match="ADP022"):
        check_mergeable([first, second])
    unknown = replace(first, name="u", base=BaseFingerprint(""))
    with pytest.raises(AdapterError, match=r"'a' on .*ADP022"):
        check_mergeable([unknown, first, second])
    wide = random_expert("w", seed=1, rank=2)
    narrow = Expert(
        name="w",
        folder=Path("n"),
        modules={"layers.0.q": Factors(torch.zeros(2, 7), torch.zeros(30, 2))},
        base=wide.base,
        weights_sha256="",
    )
    with pytest.raises(PipelineErrors) as caught:
        check_mergeable([wide, narrow])
    assert [error.code for error in caught.value.errors] == ["ADP021", "ADP023"]


def every_file(root: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def out_merge(recipe: str, out: Path) -> list[str]:
    return ["merge", recipe, "--output_dir", str(out)]


def out_prefer(recipe: str, out: Path) -> list[str]:
    return ["prefer", recipe, "--weights", "a=1", "--out", str(out)]


@pytest.mark.parametrize("command", [out_merge, out_prefer])
@pytest.mark.parametrize("out", ["runs", "runs/a", "runs/a/adapter", "runs/notes.txt", "."])
def test_a_folder_that_no_merge_wrote_is_never_replaced(
    command, out, folders, tmp_path, monkeypatch, capsys
):
    runs = tmp_path / "runs"
    inside = {name: changed(folders[name], runs / name / "adapter") for name in ("a", "b")}
    (runs / "notes.txt").write_text("mine")
    recipe = write_recipe(tmp_path / "merge.yaml", inside)
    before = every_file(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert run(command(recipe, Path(out))) == 2
    assert "OUT004" in capsys.readouterr().err
    assert every_file(tmp_path) == before


def test_a_merge_replaces_an_earlier_merge_but_nothing_beside_it(folders, tmp_path, capsys):
    recipe = write_recipe(tmp_path / "merge.yaml", folders)
    out = tmp_path / "merged"
    out.mkdir()
    assert run(out_merge(recipe, out)) == 0
    first = (out / "adapter_model.safetensors").read_bytes()
    assert run([*out_merge(recipe, out), "--weight", "0.1"]) == 0
    assert (out / "adapter_model.safetensors").read_bytes() != first
    (out / "eval").mkdir()
    (out / "eval/results.json").write_text("{}")
    assert run(out_merge(recipe, out)) == 2
    assert "eval/results.json" in capsys.readouterr().err
    again = write_recipe(tmp_path / "again.yaml", {"merged": out, "b": folders["b"]})
    (out / "eval/results.json").unlink()
    assert run(out_merge(again, out)) == 2
    assert "OUT004" in capsys.readouterr().err


def test_mistakes_in_a_merge_recipe_are_named_with_their_place(tmp_path, capsys):
    path = tmp_path / "merge.yaml"
    path.write_text("adapters:\n  - {name: a, path: x}\n  - {name: a, path: y}\nmethdo: ties\n")
    assert run(["merge", str(path)]) == 2
    printed = capsys.readouterr().err
    assert f"{path}:4:1: methdo" in printed
    assert "method" in printed
