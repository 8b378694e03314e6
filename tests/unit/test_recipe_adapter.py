"""The adapter's fields of a recipe: what reaches PEFT, and what is refused."""

from __future__ import annotations

import pytest

from pipeline.adapters.registry import build_adapter_config
from pipeline.errors import PipelineError
from pipeline.recipe import load_recipe, write_resolved

MINIMAL = "model_name_or_path: embedded\ntasks: [ner, qa]\n"


@pytest.fixture
def read(tmp_path):
    def _read(text: str):
        path = tmp_path / "recipe.yaml"
        path.write_text(MINIMAL + text)
        return load_recipe(path)

    return _read


def config_of(recipe):
    names = [entry.task for entry in recipe.tasks]
    return build_adapter_config(recipe.adapter_settings, names)


def test_a_smora_adapter_of_a_recipe_becomes_its_peft_configuration(read):
    recipe = read(
        "adapter: {type: smora, r: 64, num_active_ranks: 8, router: token, share_router: true}\n"
        "lora_alpha: 16\nlora_target_modules: [q_proj]\n"
    )
    config = config_of(recipe)
    assert config.peft_type.value == "SMORA"
    assert (config.r, config.num_active_ranks, config.router) == (64, 8, "token")
    assert (config.lora_alpha, config.target_modules) == (16, {"q_proj"})
    assert config.share_router
    assert config.task_names == ["ner", "qa"]


@pytest.mark.parametrize("kind", ["smora", "moe_lora", "hydra", "mtlora", "mtl_lora"])
def test_options_left_out_keep_the_defaults_of_their_type(read, kind):
    recipe = read(f"adapter: {{type: {kind}, r: 32}}\n")
    config = config_of(recipe)
    fresh = type(config)(task_names=["ner", "qa"])
    for name in ("num_active_ranks", "block_size", "num_b_factors", "score", "router", "task_rank"):
        assert getattr(config, name) == getattr(fresh, name)


def test_groups_and_presets_reach_the_configuration(read):
    recipe = read(
        "adapter: {type: smora, r: 16, num_active_ranks: 4, preset: paper, "
        "task_groups: [[ner], [qa]], ranks_per_group: 4}\n"
    )
    config = config_of(recipe)
    assert config.task_groups == [["ner"], ["qa"]]
    assert (config.gate_source, config.balance_rate) == ("biased", 1e-5)


@pytest.mark.parametrize(
    ("text", "alpha", "dropout"),
    [
        ("adapter: {type: mtlora, r: 8, preset: paper}", 32, 0.05),
        ("adapter: {type: mtlora, r: 8, preset: paper}\nlora_alpha: 7", 7, 0.05),
        ("adapter: {type: mtlora, preset: paper}\nlora_r: 4\nlora_dropout: 0.3", 16, 0.3),
    ],
)
def test_a_preset_leaves_what_the_recipe_sets_and_tells_the_rest(read, text, alpha, dropout):
    recipe = read(text + "\n")
    config = config_of(recipe)
    assert (config.lora_alpha, config.lora_dropout) == (alpha, dropout)
    assert (recipe.lora_alpha, recipe.lora_dropout) == (alpha, dropout)


@pytest.mark.parametrize(
    "text",
    [
        "adapter: {type: smora, r: 64, preset: paper, balance_rate: 1.0e-2}",
        "adapter: {type: mtlora, r: 8, preset: paper}",
        "adapter: {type: hydra, num_b_factors: 1}",
        "adapter: {type: smora, router: uniform}",
        "mixture: {policy: sqrt}",
    ],
)
def test_a_resolved_recipe_with_an_adapter_loads_back_equal(read, tmp_path, text):
    recipe = read(text + "\n")
    write_resolved(recipe, tmp_path / "resolved.yaml")
    assert load_recipe(tmp_path / "resolved.yaml") == recipe


def test_lora_starts_from_pissa_where_asked(read):
    config = config_of(read("adapter: {type: lora, init: pissa}\n"))
    assert config.init_lora_weights == "pissa"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("adapter: {type: lora, router: token}", "adapter type 'lora' has no such option"),
        ("adapter: {type: mtlora, num_active_ranks: 4}", "adapter type 'mtlora' has no such"),
        (
            "adapter: {type: smora, r: 8, num_active_ranks: 9}",
            "got 9, allowed multiples of 1 up to 8",
        ),
        ("adapter: {type: smora, r: 4}", "got 8, allowed multiples of 1 up to 4"),
        ("adapter: {type: moe_lora, r: 20}", "20 routed ranks cannot be cut into experts of 8"),
        (
            "adapter: {type: moe_lora, r: 64, num_active_ranks: 12}",
            "got 12, allowed multiples of 8 up to 64",
        ),
        ("adapter: {type: smora, r: 64}\nlora_r: 32", "got 64 together with lora_r: 32"),
        ("adapter: {type: smora, r: 64}\nuse_dora: true", "adapter type 'smora', allowed 'lora'"),
        ("adapter: {type: smora, r: 64, task_groups: [[ner]]}", "needs `ranks_per_group`"),
        (
            "adapter: {type: smora, r: 64, task_groups: [[pink]], ranks_per_group: 4}",
            "no task of this recipe is named 'pink'",
        ),
        (
            "adapter: {type: smora, r: 64, task_groups: [[ner], [ner]], ranks_per_group: 4}",
            "task 'ner' stands in two groups",
        ),
        (
            "adapter: {type: lora, init: pissa}\nload_in_4bit: true",
            "'pissa' changes the base weights",
        ),
        *(
            (f"adapter: {{type: {kind}, {options}}}", f"adapter.{name}: has no effect here")
            for kind, options, name in (
                ("smora", "router: uniform, num_active_ranks: 4", "num_active_ranks"),
                ("smora", "router: uniform, balance_rate: 0.5", "balance_rate"),
                ("smora", "router: uniform, score: softmax", "score"),
                ("hydra", "router: uniform, share_router: true", "share_router"),
                ("hydra", "num_b_factors: 1, router: task", "router"),
                ("smora", "router: task, share_router: true", "share_router"),
                ("smora", "router: task, router_low_rank: true", "router_low_rank"),
                ("smora", "router: task, router_task_input: true", "router_task_input"),
                ("smora", "share_router: true, router_low_rank: true", "share_router"),
                ("smora", "r: 8, balance_rate: 0.01", "balance_rate"),
                (
                    "smora",
                    "r: 8, num_shared_ranks: 4, num_active_ranks: 4, balance_rate: 0.1",
                    "balance_rate",
                ),
            )
        ),
        ("adapter: {type: smora, preset: paper, score: softmax}", "contradicts `preset: paper`"),
        ("use_bnb_nested_quant: true", "which only weights in 4 bits follow"),
        ("load_in_8bit: true\nbnb_4bit_quant_type: fp4", "which only weights in 4 bits follow"),
        ("mixture: {policy: sqrt, temperature: 9.0}", "mixture.temperature: policy 'sqrt' does"),
        ("mixture: {policy: uniform, cap: 5}", "mixture.cap: policy 'uniform' does not read it"),
        ("mixture: {policy: capped, cap: null}", "mixture.cap: policy 'capped' needs one"),
        (
            "mixture: {groups: [{name: g, tasks: [ner], policy: sqrt, cap: 5}]}",
            "mixture.groups[0].cap: policy 'sqrt' does not read it",
        ),
        (
            "mixture: {policy: unimax, max_epochs_per_task: null}",
            "mixture.policy: 'unimax' needs `mixture.max_epochs_per_task`",
        ),
        (
            "mixture: {max_epochs_per_task: null, "
            "groups: [{name: g, tasks: [ner], policy: unimax}]}",
            "mixture.groups[0].policy: 'unimax' needs",
        ),
        *(
            (f"adapter: {{type: {kind}, {field}: x}}\n{tokens}", "tokens of these tasks are not")
            for kind, field in (("lora", "start_from"), ("mtlora", "extend"))
            for tokens in ("task_tokens: true", "label_tokens: true", "dna_unit: bpe")
        ),
    ],
)
def test_options_that_cannot_be_followed_are_refused(read, text, message):
    with pytest.raises(PipelineError) as caught:
        read(text + "\n")
    assert message in str(caught.value)
    assert "[REC006]" in str(caught.value)


@pytest.mark.parametrize("field", ["lora_dropout", "adam_beta1", "adam_beta2"])
def test_shares_that_leave_nothing_are_refused(read, field):
    with pytest.raises(PipelineError, match=f"{field}.*less than 1"):
        read(f"{field}: 1.0\n")
