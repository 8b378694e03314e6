"""Coefficients learned from a task's rows through the command line, on a tiny model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model

from pipeline.adapters.base_fingerprint import BASE_MODEL_FILE, BaseFingerprint
from pipeline.adapters.merging.writing import is_transductive
from pipeline.adapters.registry import load_adapter
from pipeline.chat.tokenise import ExampleTooLong, prompt_ids_many
from pipeline.cli.main import main
from pipeline.models.loading import load_model
from tests.fixtures.tiny_mirror import write_tiny_mirror
from tests.fixtures.tiny_models import save_tiny_model

INPUT = torch.arange(12).reshape(1, 12)


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("learned")
    write_tiny_mirror(root)
    base = save_tiny_model(root / "base")
    for seed, name in enumerate(("colour", "other"), start=1):
        torch.manual_seed(seed)
        config = LoraConfig(task_type="CAUSAL_LM", r=2, target_modules=["q_proj", "up_proj"])
        model = get_peft_model(load_model(str(base)), config)
        for key, parameter in model.named_parameters():
            if "lora_B" in key:
                torch.nn.init.normal_(parameter, std=0.3)
        model.save_pretrained(root / name)
        BaseFingerprint.of(str(base)).write(root / name / BASE_MODEL_FILE)
    return root


def run(place: Path, recipe: dict) -> int:
    path = place / "merge.yaml"
    path.write_text(json.dumps(recipe))
    common = ["--data-root", str(place / "mirror"), "--annotations", str(place / "annotations")]
    with pytest.raises(SystemExit) as done:
        main([*common, "merge", str(path)])
    return int(done.value.code or 0)


def fitted_by(place: Path, method: str, **fit: object) -> dict:
    """Return a recipe with only the fields of `fit` that every method reads."""
    recipe = recipe_of(place, **fit)
    for name in ("num_steps", "learning_rate"):
        del recipe["fit"][name]
    return recipe | {"method": method}


def folder_bytes(folder: Path) -> dict[str, bytes]:
    return {
        each.name: each.read_bytes()
        for each in folder.iterdir()
        if each.name not in ("README.md", "manifest.json")
    }


def replay(place: Path, *options: str) -> int:
    with pytest.raises(SystemExit) as done:
        main(["merge", str(place / "merged/merge.json"), *options])
    return int(done.value.code or 0)


def recipe_of(place: Path, **fit: object) -> dict:
    return {
        "adapters": [
            {"name": "colour", "path": str(place / "colour"), "task": "tiny/colour"},
            {"name": "other", "path": str(place / "other"), "task": "tiny/colour"},
        ],
        "method": "learned",
        "output_dir": str(place / "merged"),
        "fit": {
            "model_name_or_path": str(place / "base"),
            "num_prompts": 8,
            "batch_size": 4,
            "num_steps": 30,
            "learning_rate": 0.05,
            "max_new_tokens": 6,
            **fit,
        },
    }


def test_imitating_one_adapter_on_its_task_learns_to_use_it(place):
    given = recipe_of(place, target="colour", granularity="task", split="train")
    del given["method"]  # what `fit` stands for
    assert run(place, given) == 0
    record = json.loads((place / "merged/merge.json").read_text())
    assert record["recipe"]["method"] == "learned"
    assert record["fit"]["curve"][-1] < 0.1 * record["fit"]["curve"][0]
    assert record["coefficients"]["colour"] == pytest.approx(1.0, abs=0.2)
    assert abs(record["coefficients"]["other"]) < 0.25
    assert record["fit"]["num_rows"] == {"colour": 8}
    assert record["fit"]["transductive"] is False
    model = load_adapter(load_model(str(place / "base")), place / "merged")
    alone = load_adapter(load_model(str(place / "base")), place / "colour")
    plain = load_model(str(place / "base"))
    with torch.no_grad():
        merged, expert, base = (each.eval()(INPUT).logits for each in (model, alone, plain))
    assert (merged - expert).norm() < 0.5 * (base - expert).norm()


@pytest.mark.parametrize("method", ["best_uniform", "regmean"])
def test_another_base_than_that_of_the_adapters_is_refused(method, place, capsys):
    other = save_tiny_model(place / "other-base", seed=7)
    assert run(place, fitted_by(place, method, model_name_or_path=str(other))) == 2
    printed = capsys.readouterr().err
    assert printed.count("ADP022") == 2
    assert "fit.model_name_or_path" in printed


@pytest.mark.parametrize("objective", ["supervised", "entropy"])
def test_every_objective_runs_on_all_tasks_and_lowers_itself(objective, place):
    assert run(place, recipe_of(place, objective=objective, num_steps=12)) == 0
    fit = json.loads((place / "merged/merge.json").read_text())["fit"]
    assert fit["curve"][-1] < fit["curve"][0]
    assert set(fit["last_by_task"]) == {"colour", "other"}


def test_a_base_in_4_bits_gives_nearly_the_same_coefficients(place):
    pytest.importorskip("bitsandbytes")
    found = []
    for in_4bit in (False, True):
        given = recipe_of(place, target="colour", granularity="task", load_in_4bit=in_4bit)
        assert run(place, given) == 0
        found.append(json.loads((place / "merged/merge.json").read_text()))
        merged = load_adapter(load_model(str(place / "base")), place / "merged")
        assert torch.isfinite(merged(INPUT).logits).all()
    plain, quantised = (each["coefficients"] for each in found)
    assert quantised == pytest.approx(plain, abs=0.2)
    assert found[0]["fit"]["curve"] != found[1]["fit"]["curve"]


def test_test_rows_need_consent_and_are_shown(place, capsys):
    assert run(place, recipe_of(place, split="test")) == 2
    assert "transductive: true" in capsys.readouterr().err
    given = recipe_of(place, split="test", transductive=True, num_steps=1, target="colour")
    assert run(place, given) == 0
    assert json.loads((place / "merged/merge.json").read_text())["fit"]["transductive"] is True
    capsys.readouterr()
    merged, again = place / "merged-on-test", place / "cut"
    assert run(place, given | {"output_dir": str(merged)}) == 0
    second = {"adapters": [{"name": "m", "path": str(merged)}], "rank": 2}
    assert run(place, second | {"output_dir": str(again)}) == 0
    assert is_transductive(again)
    assert capsys.readouterr().err.count("warning: transductive") == 2
    assert run(place, recipe_of(place, num_steps=1, split="train")) == 0
    assert not is_transductive(place / "merged")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"method": "linear"}, "only the methods `best_uniform`, `learned`, `regmean` read `fit`"),
        ({"method": "regmean"}, "fit.learning_rate: method `regmean` does not read it"),
        ({"fit": None}, "method `learned` needs `fit`"),
    ],
)
def test_fields_that_contradict_each_other_are_named(changes, message, place, capsys):
    assert run(place, recipe_of(place) | changes) == 2
    assert message in capsys.readouterr().err


def test_an_adapter_without_a_task_cannot_be_fitted_on(place, capsys):
    given = recipe_of(place)
    del given["adapters"][1]["task"]
    assert run(place, given) == 2
    assert "other needs `task`" in capsys.readouterr().err


def transfer(place: Path, *options: str) -> int:
    path = place / "merge.yaml"
    path.write_text(json.dumps(recipe_of(place, num_steps=2)))
    common = ["--data-root", str(place / "mirror"), "--annotations", str(place / "annotations")]
    out = ["--out", str(place / "transferred")]
    with pytest.raises(SystemExit) as done:
        main([*common, "transfer", str(path), "--target", "colour", *out, *options])
    return int(done.value.code or 0)


@pytest.mark.parametrize(
    ("variant", "count"),
    [
        # Two adapters, two layers; q_proj has 32 outputs, up_proj 64.
        ("scalearn", 2 * 2 * (32 + 64)),
        ("uniform", 2 * 2 * 2),
        ("scalearn++", 2 * (32 + 64)),
        ("uniform++", 2),
    ],
)
def test_a_transfer_learns_as_many_scales_as_the_formula_says(variant, count, place):
    assert transfer(place, "--variant", variant) == 0
    fit = json.loads((place / "transferred/merge.json").read_text())["fit"]
    assert fit["num_coefficients"] == count
    assert fit["objective"] == "supervised"
    assert set(fit["last_by_task"]) == {"colour"}
    load_adapter(load_model(str(place / "base")), place / "transferred")


def test_an_unknown_variant_of_a_transfer_is_named(place, capsys):
    assert transfer(place, "--variant", "scalern") == 2
    assert "scalearn" in capsys.readouterr().err


def test_the_best_uniform_weight_of_a_grid_is_used_and_recorded(place):
    given = fitted_by(place, "best_uniform", grid=[0.25, 1.0], objective="supervised")
    assert run(place, given) == 0
    record = json.loads((place / "merged/merge.json").read_text())
    sums = {each["weight"]: sum(each["objective"].values()) for each in record["fit"]["grid"]}
    assert set(sums) == {0.25, 1.0}
    best = min(sums, key=sums.get)
    assert record["coefficients"] == {"colour": best, "other": best}


def test_regmean_keeps_the_sum_of_ranks_or_is_cut(place, capsys):
    assert run(place, fitted_by(place, "regmean")) == 0
    whole = load_adapter(load_model(str(place / "base")), place / "merged")
    assert whole.peft_config["default"].r == 4
    assert "cutting the rank" not in capsys.readouterr().out
    assert run(place, fitted_by(place, "regmean") | {"rank": 2}) == 0
    assert (
        load_adapter(load_model(str(place / "base")), place / "merged").peft_config["default"].r
        == 2
    )
    assert "cutting the rank lost" in capsys.readouterr().out


@pytest.mark.parametrize("granularity", ["block", "channel"])
def test_what_was_learned_is_merged_again_without_rows_byte_by_byte(granularity, place, capsys):
    assert run(place, recipe_of(place, num_steps=3, granularity=granularity)) == 0
    again = place / f"again-{granularity}"
    assert replay(place, "--output_dir", str(again)) == 0
    first, second = folder_bytes(place / "merged"), folder_bytes(again)
    assert first["adapter_model.safetensors"] == second["adapter_model.safetensors"]
    one, two = (json.loads(each.pop("merge.json")) for each in (first, second))
    assert one["recipe"].pop("output_dir") != two["recipe"].pop("output_dir")
    assert one == two
    assert first == second


@pytest.mark.parametrize("method", ["ties", "dare", "magnitude", "linear"])
def test_rules_are_merged_again_byte_by_byte(method, place):
    given = recipe_of(place) | {"method": method, "seed": 3}
    if method != "linear":
        given["density"] = 0.4
    del given["fit"]
    assert run(place, given) == 0
    assert replay(place, "--output_dir", str(place / "again-rule")) == 0
    weights = "adapter_model.safetensors"
    assert (place / "merged" / weights).read_bytes() == (
        place / "again-rule" / weights
    ).read_bytes()


def test_a_merge_of_adapters_that_changed_since_is_not_made_again(place, capsys):
    assert run(place, recipe_of(place, num_steps=1)) == 0
    record = json.loads((place / "merged/merge.json").read_text())
    record["sources"][0]["weights_sha256"] = "0" * 64
    (place / "merged/merge.json").write_text(json.dumps(record))
    assert replay(place) == 2
    assert "ADP025" in capsys.readouterr().err
    (place / "merged/merge.json").write_text("{}")
    assert replay(place) == 2
    assert "ADP025" in capsys.readouterr().err


@pytest.mark.parametrize(
    "options",
    [
        ("--fit.num_steps", "100"),
        ("--fit.granularity", "module"),
        ("--method", "regmean"),
        ("--weight=0.5",),
    ],
)
def test_a_record_is_not_made_again_with_other_options(options, place, capsys):
    assert run(place, recipe_of(place, num_steps=1)) == 0
    before = folder_bytes(place / "merged")
    assert replay(place, *options) == 2
    printed = capsys.readouterr().err
    assert "ADP025" in printed
    assert options[0].partition("=")[0] in printed
    assert folder_bytes(place / "merged") == before
    cut = ("--rank", "2", "--output_dir", str(place / "again-cut"))
    assert replay(place, *cut) == 0


def test_prompts_that_do_not_fit_are_left_out_and_counted(place, monkeypatch, capsys):
    def without_hats(conversations, tokenizer, budget):
        if any("one blue hat" in message.content for c in conversations for message in c.messages):
            raise ExampleTooLong("CHT007", "too long", where="a row")
        return prompt_ids_many(conversations, tokenizer, budget)

    monkeypatch.setattr("pipeline.training.merge_run.prompt_ids_many", without_hats)
    assert run(place, recipe_of(place, num_steps=1)) == 0
    fit = json.loads((place / "merged/merge.json").read_text())["fit"]
    assert fit["num_too_long"] == {"colour": 1, "other": 1}
    assert fit["num_rows"] == {"colour": 7, "other": 7}
    assert "1 rows of colour do not fit" in capsys.readouterr().err


@pytest.mark.parametrize("objective", ["expert_kl", "supervised"])
def test_a_fit_without_a_row_that_fits_is_refused(objective, place, capsys):
    assert run(place, recipe_of(place, objective=objective, num_steps=1, max_length=8)) == 2
    assert "TRN040" in capsys.readouterr().err


def prefer(place: Path, *options: str) -> int:
    path = place / "merge.yaml"
    recipe = recipe_of(place, style="no_instruction")
    recipe["adapters"][1]["task"] = "tiny/hue"
    path.write_text(json.dumps(recipe))
    colour = (place / "annotations/general/colour.yaml").read_text()
    (place / "annotations/general/hue.yaml").write_text(
        colour.replace("tiny/colour", "tiny/hue", 1)
    )
    common = ["--data-root", str(place / "mirror"), "--annotations", str(place / "annotations")]
    with pytest.raises(SystemExit) as done:
        main([*common, "prefer", str(path), *options, "--out", str(place / "edge")])
    return int(done.value.code or 0)


def test_an_edge_is_evaluated_without_training_and_drawn_into_the_report(place, monkeypatch):
    def train(*args, **kwargs):
        raise AssertionError("a preference takes no optimizer step")

    monkeypatch.setattr(torch.optim.Optimizer, "__init__", train)
    assert prefer(place, "--edge", "colour,other", "--points", "3", "--max-rows", "3") == 0
    edge = json.loads((place / "edge/edge.json").read_text())
    assert edge["weights"] == [0.0, 0.5, 1.0]
    assert set(edge["scores"]) == {"tiny/colour", "tiny/hue"}
    page = (place / "edge/report.html").read_text()
    assert "Edge from colour to other" in page
    (results,) = (place / "edge/other-0.500/eval").rglob("results.json")
    assert '"style": "no_instruction"' in results.read_text()
    weights = "adapter_model.safetensors"
    middle = load_adapter(load_model(str(place / "base")), place / "edge/other-0.500/adapter")
    assert middle.peft_config["default"].r == 4
    assert (place / "edge/other-0.000/adapter" / weights).is_file()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--edge", "colour,otter"], "other"),
        (["--edge", "colour,colour"], "Write two names"),
        (["--edge", "colour,other", "--weights", "colour=1"], "Give one of them"),
        ([], "Give one of them"),
    ],
)
def test_an_edge_needs_two_adapters(options, message, place, capsys):
    assert prefer(place, *options) == 2
    assert message in capsys.readouterr().err
