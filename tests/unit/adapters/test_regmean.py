"""RegMean against the least-squares problem it solves."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from pipeline.adapters.merging.factors import Factors
from pipeline.adapters.merging.mixer import Mixer
from pipeline.adapters.merging.regmean import RegMean
from tests.unit.adapters.test_mixer import EXPERTS, build_model, expert, run


def rows(*seeds: int) -> list[torch.Tensor]:
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    return [torch.randn(3, 4, 6, generator=each).double() for each in generators]


ROWS = {"a": rows(1, 2, 3), "b": rows(4, 5, 6)}
MASK = torch.tensor([[1, 1, 1, 1], [1, 1, 1, 0], [1, 1, 0, 0]]).bool()


def collect(experts=EXPERTS, **options):
    model = build_model()
    mixer = Mixer(model, experts)
    regmean = RegMean(mixer, **options)
    for name, batches in ROWS.items():
        regmean.add_task(name, [MASK] * len(batches), lambda n, b=batches: run(model, b[n]))
    return regmean.solve()


def inputs_of(name: str) -> torch.Tensor:
    """Return the inputs of layers.1.up in the model with one adapter added to its weights."""
    model = build_model()
    one = next(each for each in EXPERTS if each.name == name)
    for module, factors in one.modules.items():
        model.get_submodule(module).weight.data += factors.B @ factors.A
    seen = []
    layer = model.layers[1].up
    layer.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0][MASK].detach()))
    for batch in ROWS[name]:
        run(model, batch)
    return torch.cat(seen)


def test_merged_layers_solve_the_least_squares_problem():
    merged = collect(off_diagonal=1.0)
    module = "layers.1.up"
    # Every task counts alike, so rows are divided by the root of their number.
    X = {name: inputs_of(name) / 27**0.5 for name in ROWS}
    changes = {each.name: each.modules[module].B @ each.modules[module].A for each in EXPERTS}
    left = torch.cat([X["a"], X["b"]])
    right = torch.cat([X[name] @ changes[name].T for name in ("a", "b")])
    expected = torch.linalg.lstsq(left, right).solution.T
    found = merged[module].B @ merged[module].A
    assert torch.allclose(found, expected, atol=1e-4)
    assert merged[module].rank == 5


def test_a_module_that_one_adapter_leaves_alone_is_drawn_towards_the_base():
    merged = collect(off_diagonal=0.9)
    alone = EXPERTS[0].modules["layers.0.down"]
    found, whole = merged["layers.0.down"].B @ merged["layers.0.down"].A, alone.B @ alone.A
    assert 0 < found.norm() < whole.norm()


def test_one_task_gives_its_adapter_back():
    model = build_model()
    only = expert("a", seed=1)
    regmean = RegMean(Mixer(model, [only]), off_diagonal=1.0)
    regmean.add_task("a", [MASK] * 3, lambda n: run(model, ROWS["a"][n]))
    merged = regmean.solve()
    for module, inputs in (("layers.0.up", rows(1, 2, 3)), ("layers.1.up", [inputs_of("a")])):
        wanted = only.modules[module].B @ only.modules[module].A
        found = merged[module].B @ merged[module].A
        for x in inputs:
            assert torch.allclose(x @ found.T, x @ wanted.T, atol=1e-3)


@pytest.mark.parametrize("off_diagonal", [0.0, 0.5])
def test_without_off_diagonal_products_every_input_is_averaged_on_its_own(off_diagonal):
    module = "layers.1.up"
    G = {}
    for name in ROWS:
        X = inputs_of(name) / 27**0.5
        product = X.T @ X
        G[name] = off_diagonal * product + (1 - off_diagonal) * torch.diag(product.diagonal())
    changes = {each.name: each.modules[module].B @ each.modules[module].A for each in EXPERTS}
    top = sum(changes[name] @ G[name] for name in G)
    expected = top @ torch.linalg.inv(G["a"] + G["b"])
    found = collect(off_diagonal=off_diagonal)[module]
    assert torch.allclose(found.B @ found.A, expected, atol=1e-4)


def test_an_input_that_is_always_zero_is_no_error():
    model = build_model()
    regmean = RegMean(Mixer(model, EXPERTS), off_diagonal=0.9)
    for name, batches in ROWS.items():
        dead = [batch.clone() for batch in batches]
        for batch in dead:
            batch[..., 2] = 0
        regmean.add_task(name, [MASK] * 3, lambda n, b=dead: run(model, b[n]))
    assert all(torch.isfinite(each.A).all() for each in regmean.solve().values())


@pytest.mark.parametrize(("width", "tokens", "shift"), [(256, 16, 0.0), (256, 16, 3.0), (64, 4, 0)])
def test_fewer_tokens_than_inputs_are_no_error(width, tokens, shift):
    generator = torch.Generator().manual_seed(0)
    model = nn.Module()
    model.q = nn.Linear(width, 8, bias=False)
    experts = [
        replace(
            EXPERTS[0],
            name=name,
            modules={
                "q": Factors(
                    torch.randn(4, width, generator=generator),
                    torch.randn(8, 4, generator=generator),
                )
            },
        )
        for name in "ab"
    ]
    regmean = RegMean(Mixer(model, experts), off_diagonal=1.0)
    inputs = {}
    for name in "ab":
        x = inputs[name] = torch.randn(1, tokens, width, generator=generator) + shift
        regmean.add_task(name, [torch.ones(1, tokens).bool()], lambda _, x=x: model.q(x))
    found = regmean.solve()["q"]
    lost = whole = 0.0
    for each in experts:
        own, x = each.modules["q"].B @ each.modules["q"].A, inputs[each.name][0]
        lost += float(((x @ (found.B @ found.A - own).T) ** 2).sum())
        whole += float(((x @ own.T) ** 2).sum())
    assert lost < 0.01 * whole
