"""The live mixer: equal to the fold, gradients where they belong, and the base given back."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from pipeline.adapters.base_fingerprint import BaseFingerprint
from pipeline.adapters.merging.factors import Expert, Factors
from pipeline.adapters.merging.fold import Granularity, fold
from pipeline.adapters.merging.mixer import Mixer
from pipeline.errors import AdapterError


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.up, self.down = nn.Linear(6, 10), nn.Linear(10, 6)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.down(torch.tanh(self.up(x)))


def build_model(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    model = nn.Module()
    model.layers = nn.ModuleList([Block(), Block()])
    return model.double()


def run(model: nn.Module, x: torch.Tensor) -> torch.Tensor:
    for layer in model.layers:
        x = layer(x)
    return x


def expert(name: str, *, seed: int, rank: int = 2, modules=("up", "down"), scale=1.0) -> Expert:
    generator = torch.Generator().manual_seed(seed)
    sizes = {"up": (10, 6), "down": (6, 10)}
    factors = {
        f"layers.{number}.{module}": Factors(
            torch.randn(rank, sizes[module][1], generator=generator).double(),
            torch.randn(sizes[module][0], rank, generator=generator).double() * scale,
        )
        for number in range(2)
        for module in modules
    }
    return Expert(
        name=name,
        folder=Path(name),
        modules=factors,
        base=BaseFingerprint("b"),
        weights_sha256="",
    )


EXPERTS = [expert("a", seed=1), expert("b", seed=2, rank=3, modules=("up",))]
X = torch.randn(4, 5, 6, generator=torch.Generator().manual_seed(9)).double()


def folded_output(mixer: Mixer) -> torch.Tensor:
    model = build_model()
    for module, factors in fold(EXPERTS, mixer.by_module()).items():
        model.get_submodule(module).weight.data += factors.B @ factors.A
    return run(model, X)


@pytest.mark.parametrize(
    ("granularity", "count"),
    [
        ("task", 2),
        ("block", 4),
        ("module", 8),
        ("channel", 2 * 2 * (10 + 6)),
        ("kind_channel", 2 * (10 + 6)),
    ],
)
def test_the_live_model_equals_the_folded_one_at_every_granularity(
    granularity: Granularity, count: int
):
    model = build_model()
    mixer = Mixer(model, EXPERTS, granularity=granularity)
    assert mixer.num_coefficients() == count
    with torch.no_grad():
        for parameter in mixer.coefficients.values():
            parameter += torch.linspace(-0.5, 0.5, parameter.numel()).view_as(parameter)
    assert torch.allclose(run(model, X), folded_output(mixer), atol=1e-6)


def test_one_adapter_alone_is_that_adapter_and_the_mixture_comes_back():
    model = build_model()
    mixer = Mixer(model, EXPERTS, init=0.25)
    before = run(model, X)
    with mixer.only("b"):
        alone = run(model, X)
    assert torch.equal(run(model, X), before)
    plain = build_model()
    for module, factors in EXPERTS[1].modules.items():
        plain.get_submodule(module).weight.data += factors.B @ factors.A
    assert torch.allclose(alone, run(plain, X), atol=1e-12)


def test_only_coefficients_are_trained_and_a_zero_adapter_has_no_gradient():
    zero = expert("zero", seed=3, scale=0.0)
    model = build_model()
    mixer = Mixer(model, [*EXPERTS, zero], granularity="module")
    run(model, X).square().mean().backward()
    assert all(parameter.grad is None for parameter in model.parameters())
    for module, parameter in mixer.coefficients.items():
        assert float(parameter.grad[2]) == 0.0
        assert float(parameter.grad[0]) != 0.0
        # The second adapter has no factors in `down`, so nothing there depends on it.
        assert (float(parameter.grad[1]) == 0.0) == module.endswith("down")


def test_gradients_are_those_of_the_formula():
    model = build_model()
    mixer = Mixer(model, EXPERTS, granularity="channel")
    run(model, X).square().sum().backward()
    step = 1e-5
    parameter = mixer.coefficients["layers/0/up"]
    for place in ((0, 0), (1, 7)):
        values = []
        for sign in (1, -1):
            with torch.no_grad():
                parameter[place] += sign * step
            values.append(run(model, X).square().sum().item())
            with torch.no_grad():
                parameter[place] -= sign * step
        # Coefficients are float32, so the step is known to about 1e-7 of 0.3.
        numeric = (values[0] - values[1]) / (2 * step)
        assert float(parameter.grad[place]) == pytest.approx(numeric, rel=2e-2)


def test_the_base_is_given_back_as_it_was():
    model = build_model()
    before = run(model, X)
    mixer = Mixer(model, EXPERTS)
    assert not torch.allclose(run(model, X), before)
    assert mixer.restore() is model
    assert torch.equal(run(model, X), before)
    assert [name for name, _ in model.named_modules()] == [
        name for name, _ in build_model().named_modules()
    ]


def test_starting_values_may_differ_by_adapter():
    mixer = Mixer(build_model(), EXPERTS, granularity="task", init={"a": 1.0, "b": 0.0})
    assert mixer.by_module() == {
        "a": dict.fromkeys(EXPERTS[0].modules, 1.0),
        "b": dict.fromkeys(EXPERTS[1].modules, 0.0),
    }


def test_a_module_that_the_model_lacks_is_named():
    model = build_model()
    del model.layers[1]
    with pytest.raises(AdapterError, match=r"no module layers\.1\.down.*ADP024"):
        Mixer(model, EXPERTS)


def test_the_base_may_be_in_4_bits_and_coefficients_still_learn():
    bnb = pytest.importorskip("bitsandbytes")
    torch.manual_seed(0)
    model = nn.Module()
    # As wide as the smallest layer that every processor's 4-bit kernel takes.
    model.layers = nn.ModuleList([bnb.nn.Linear4bit(128, 128, bias=False, quant_type="nf4")])
    model.to("cpu").eval()
    x = torch.randn(4, 128)
    before = model.layers[0](x)
    factors = Factors(torch.randn(2, 128), torch.randn(128, 2))
    one = Expert(name="a", folder=Path("a"), modules={"layers.0": factors},
                 base=BaseFingerprint("b"), weights_sha256="")  # fmt: skip
    mixer = Mixer(model, [one], granularity="task", init=0.5)
    out = model.layers[0](x)
    expected = before + 0.5 * (x @ factors.A.T @ factors.B.T)
    assert torch.allclose(out, expected, rtol=1e-2, atol=1e-2)
    out.square().sum().backward()
    assert float(mixer.coefficients["all"].grad) > 0
    mixer.restore()
    assert torch.equal(model.layers[0](x), before)


def test_a_module_of_another_shape_is_refused():
    model = build_model()
    model.layers[1].up = nn.Linear(6, 12)
    with pytest.raises(AdapterError, match=r"layers.1.up is 10 x 6 .* 12 x 6 .*ADP023"):
        Mixer(model, EXPERTS)
