"""Coefficients are learned: the relations that must hold whatever the data."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from pipeline.adapters.base_fingerprint import BaseFingerprint
from pipeline.adapters.merging.factors import Expert, Factors
from pipeline.adapters.merging.mixer import Mixer
from pipeline.errors import TrainingError
from pipeline.training.merge_fit import (
    FitBatch,
    FitSettings,
    choose_uniform,
    fit_coefficients,
)
from pipeline.types import IGNORE_INDEX

VOCABULARY, WIDTH = 11, 16


class Tiny(nn.Module):
    """A model that predicts the next token from this one."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(VOCABULARY, WIDTH)
        self.layers = nn.ModuleList([nn.Linear(WIDTH, WIDTH) for _ in range(2)])
        self.head = nn.Linear(WIDTH, VOCABULARY, bias=False)

    def forward(self, input_ids, attention_mask, use_cache, logits_to_keep=slice(None)):
        x = self.embed(input_ids)
        for layer in self.layers:
            x = x + torch.tanh(layer(x))
        return SimpleNamespace(logits=self.head(x[:, logits_to_keep]))


def model() -> Tiny:
    torch.manual_seed(0)
    return Tiny()


def expert(name: str, seed: int, scale: float = 0.6) -> Expert:
    generator = torch.Generator().manual_seed(seed)
    modules = {
        f"layers.{place}": Factors(
            torch.randn(2, WIDTH, generator=generator),
            torch.randn(WIDTH, 2, generator=generator) * scale,
        )
        for place in range(2)
    }
    return Expert(
        name=name,
        folder=Path(name),
        modules=modules,
        base=BaseFingerprint("b"),
        weights_sha256="",
    )


def batch(seed: int, **changes: object) -> FitBatch:
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(VOCABULARY, (8, 6), generator=generator)
    labels = ids.clone()
    labels[:, :3] = IGNORE_INDEX
    return FitBatch(
        **{
            "input_ids": ids,
            "attention_mask": torch.ones_like(ids),
            "labels": labels,
            "choices": tuple(torch.tensor([first, 9]) for first in (1, 2, 3)),
            **changes,
        }
    )


FAST = FitSettings(num_steps=150, learning_rate=0.05)


def values(mixer: Mixer) -> torch.Tensor:
    return torch.stack([parameter.detach() for parameter in mixer.coefficients.values()])


def test_with_one_task_the_coefficient_of_its_adapter_goes_to_one():
    wrapped = model()
    mixer = Mixer(wrapped, [expert("a", 1)], granularity="task", init=0.3)
    report = fit_coefficients(wrapped, mixer, {"a": [batch(1), batch(2)]}, FAST)
    assert float(values(mixer)[0, 0]) == pytest.approx(1.0, abs=0.05)
    assert report.curve[-1] < 0.01 * report.curve[0]


def test_two_identical_adapters_share_a_sum_of_one():
    wrapped = model()
    twins = [expert("a", 1), expert("b", 1)]
    mixer = Mixer(wrapped, twins, granularity="task", init=0.3)
    fit_coefficients(wrapped, mixer, {"a": [batch(1)], "b": [batch(2)]}, FAST)
    assert float(values(mixer).sum()) == pytest.approx(1.0, abs=0.05)


def test_a_zero_adapter_is_never_moved():
    wrapped = model()
    mixer = Mixer(wrapped, [expert("a", 1), expert("zero", 2, scale=0.0)], init=0.3)
    fit_coefficients(wrapped, mixer, {"a": [batch(1)]}, FitSettings(num_steps=20))
    moved, kept = values(mixer)[0]
    assert float(kept) == pytest.approx(0.3, abs=1e-7)
    assert float(moved) != pytest.approx(0.3, abs=1e-3)


def test_fitting_to_the_experts_comes_closer_to_them_than_any_uniform_weight():
    experts = [expert("a", 1), expert("b", 2)]
    batches = {"a": [batch(1)], "b": [batch(2)]}

    def objective(init: float, granularity="task", steps=1) -> float:
        wrapped = model()
        mixer = Mixer(wrapped, experts, granularity=granularity, init=init)
        settings = FitSettings(num_steps=steps, learning_rate=0.05 if steps > 1 else 0.0)
        return fit_coefficients(wrapped, mixer, batches, settings).curve[-1]

    best_uniform = min(objective(weight) for weight in (0.1, 0.2, 0.3, 0.4, 0.5, 0.7, 1.0))
    assert objective(0.3, "module", steps=200) < best_uniform


def test_supervised_fitting_lowers_the_cross_entropy_of_gold_answers():
    wrapped = model()
    mixer = Mixer(wrapped, [expert("a", 1), expert("b", 2)], granularity="module")
    given = batch(1)
    report = fit_coefficients(
        wrapped,
        mixer,
        {"a": [given]},
        FitSettings(objective="supervised", num_steps=60, learning_rate=0.02),
    )
    logits = wrapped(given.input_ids, given.attention_mask, False).logits[:, :-1]
    expected = nn.functional.cross_entropy(
        logits.reshape(-1, VOCABULARY), given.labels[:, 1:].reshape(-1), ignore_index=IGNORE_INDEX
    )
    assert report.curve[-1] < report.curve[0]
    assert float(expected.detach()) <= report.curve[-1]


def test_entropy_is_normalised_falls_and_stays_within_zero_and_one():
    wrapped = model()
    mixer = Mixer(wrapped, [expert("a", 1), expert("b", 2)])
    settings = FitSettings(objective="entropy", num_steps=60, learning_rate=0.1)
    report = fit_coefficients(wrapped, mixer, {"a": [batch(1)], "b": [batch(2)]}, settings)
    assert report.curve[-1] < report.curve[0] <= 2.0
    assert float(values(mixer).min()) >= 0.0
    assert float(values(mixer).max()) <= 1.0


def test_entropy_of_equal_choices_is_one():
    wrapped = model()
    with torch.no_grad():
        wrapped.head.weight.zero_()
    mixer = Mixer(wrapped, [expert("a", 1)])
    settings = FitSettings(objective="entropy", num_steps=1)
    assert fit_coefficients(wrapped, mixer, {"a": [batch(1)]}, settings).curve[0] == pytest.approx(
        1
    )


def test_choices_that_begin_alike_are_compared_as_a_whole():
    wrapped = model()
    choices = [[1, 4, 9], [1, 5, 2, 9], [3, 9]]
    given = batch(1, choices=tuple(map(torch.tensor, choices)))
    # Answers begin at different places.
    given.labels[:4, 3:5] = IGNORE_INDEX
    starts = [5] * 4 + [3] * 4
    scores = torch.zeros(8, 3)
    for row, start in enumerate(starts):
        for number, choice in enumerate(choices):
            ids = torch.tensor([[*given.input_ids[row, :start].tolist(), *choice]])
            log_probs = wrapped(ids, None, False).logits[0].log_softmax(-1)
            scores[row, number] = sum(
                log_probs[start - 1 + place, token] for place, token in enumerate(choice)
            ).detach()
    share = scores.softmax(-1)
    expected = float(torch.special.entr(share).sum(-1).mean() / torch.tensor(3.0).log())
    mixer = Mixer(wrapped, [expert("a", 1, scale=0.0)])
    settings = FitSettings(objective="entropy", num_steps=1)
    report = fit_coefficients(wrapped, mixer, {"a": [given]}, settings)
    assert report.curve[0] == pytest.approx(expected, rel=1e-5)


def test_low_entropy_that_means_one_answer_for_all_rows_ends_fitting():
    wrapped = model()
    # All states share a direction, in which the second adapter pushes towards the first choice.
    direction = torch.zeros(WIDTH)
    direction[0] = 1.0
    with torch.no_grad():
        wrapped.embed.weight[:, 0] = 4.0
    push = 8 * wrapped.head.weight.detach()[1]
    factors = Factors(direction[None], push[:, None])
    same_answer = Expert(
        name="b",
        folder=Path("b"),
        modules={f"layers.{place}": factors for place in range(2)},
        base=BaseFingerprint("b"),
        weights_sha256="",
    )
    mixer = Mixer(wrapped, [expert("a", 1), same_answer], granularity="task", init=0.05)
    settings = FitSettings(objective="entropy", num_steps=200, learning_rate=0.1)
    report = fit_coefficients(wrapped, mixer, {"a": [batch(1)]}, settings)
    assert report.stopped_by == "a"
    assert len(report.curve) < 200

    def marginal() -> float:
        given = batch(1)
        logits = wrapped(given.input_ids, given.attention_mask, False).logits[:, 2]
        mean = logits[:, [1, 2, 3]].softmax(-1).mean(0).detach()
        return float(torch.special.entr(mean).sum())

    at_end = marginal()
    with mixer.only("a"):
        assert at_end >= 0.8 * marginal()


def test_the_best_uniform_weight_is_the_one_of_least_objective_by_hand():
    wrapped = model()
    mixer = Mixer(wrapped, [expert("a", 1), expert("b", 2)], granularity="task")
    given = {"a": [batch(1), batch(3)], "b": [batch(2)]}
    grid = (0.1, 0.4, 0.8)
    found = choose_uniform(wrapped, mixer, given, "supervised", grid=grid)
    sums = {}
    for weight in grid:
        with torch.no_grad():
            mixer.coefficients["all"].fill_(weight)
            losses = {
                name: [
                    nn.functional.cross_entropy(
                        wrapped(b.input_ids, b.attention_mask, False).logits[:, :-1].flatten(0, 1),
                        b.labels[:, 1:].flatten(),
                        ignore_index=IGNORE_INDEX,
                    ).item()
                    for b in each
                ]
                for name, each in given.items()
            }
        assert found[weight]["a"] == pytest.approx(sum(losses["a"]) / 2, rel=1e-5)
        sums[weight] = sum(losses["a"]) / 2 + losses["b"][0]
    choose_uniform(wrapped, mixer, given, "supervised", grid=grid)
    best = min(sums, key=sums.get)
    assert values(mixer).flatten().tolist() == pytest.approx([best, best])


@pytest.mark.parametrize(
    ("batches", "settings", "code"),
    [
        ({"a": []}, FitSettings(), "TRN040"),
        ({"a": [batch(1, choices=())]}, FitSettings(objective="entropy"), "TRN041"),
        (
            {"a": [batch(1), batch(2)]},
            FitSettings(num_steps=20, learning_rate=float("inf")),
            "TRN042",
        ),
    ],
)
def test_what_cannot_be_fitted_is_refused_with_the_task(batches, settings, code):
    wrapped = model()
    mixer = Mixer(wrapped, [expert("a", 1)])
    with pytest.raises(TrainingError, match=rf"^a: .*{code}"):
        fit_coefficients(wrapped, mixer, batches, settings)
