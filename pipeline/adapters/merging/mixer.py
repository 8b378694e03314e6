"""A base with several frozen adapters at once, weighted by a small tensor of coefficients.

    h = W x + sum_t c[t, module(, channel)] B_t A_t x

Only the coefficients `c` are trainable. The factors of all adapters stand beside each other, so
one module costs two thin matrix products whatever the number of adapters, and neither the base
nor an adapter is copied. `fold` turns what was learned into one plain LoRA.

Sources: task arithmetic (arXiv:2212.04089), AdaMerging (arXiv:2310.02575) for coefficients per
task and per layer, ScaLearn (arXiv:2310.01217) for coefficients per output channel.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from pipeline.adapters.merging.factors import Expert, module_names
from pipeline.adapters.merging.fold import Granularity, block_of
from pipeline.errors import AdapterError


class MixedLinear(nn.Module):
    """A linear layer with the adapters of a module on top.

    Shapes: input `x_BTD`, factors `A_RD` and `B_OR` of all adapters, `R = sum r_t`.
    """

    def __init__(self, base: nn.Module, parts: Sequence[tuple[int, Tensor, Tensor]]) -> None:
        """Wrap `base`; `parts` holds (place of the adapter, `A`, `B`) of each that has factors."""
        super().__init__()
        self.base = base
        self.A_RD: Tensor
        self.B_OR: Tensor
        self.expert_R: Tensor
        device = next(base.parameters()).device
        stacked_A = torch.cat([A for _, A, _ in parts]).to(device)
        self.register_buffer("A_RD", stacked_A, persistent=False)
        stacked_B = torch.cat([B for _, _, B in parts], dim=1).to(device)
        self.register_buffer("B_OR", stacked_B, persistent=False)
        places = [place for place, A, _ in parts for _ in range(A.shape[0])]
        self.register_buffer("expert_R", torch.tensor(places, device=device), persistent=False)
        # In a list, so that coefficients shared by several modules belong to the mixer alone.
        self._coefficients: list[Tensor] = []

    def use(self, coefficients: Tensor) -> None:
        """Take coefficients, `[T]` or, per output channel, `[T, O]`."""
        self._coefficients = [coefficients]

    def forward(self, x_BTD: Tensor) -> Tensor:
        """Return the base's output with the weighted changes added."""
        out = self.base(x_BTD)
        c_T = self._coefficients[0].to(self.A_RD.dtype)
        z_BTR = x_BTD.to(self.A_RD.dtype) @ self.A_RD.T
        if c_T.ndim == 1:
            change = (z_BTR * c_T[self.expert_R]) @ self.B_OR.T
        else:
            change = z_BTR @ (self.B_OR * c_T[self.expert_R].T).T
        return out + change.to(out.dtype)


class Mixer(nn.Module):
    """The coefficients of all modules, and the wrapped model they act on."""

    def __init__(
        self,
        model: nn.Module,
        experts: Sequence[Expert],
        *,
        granularity: Granularity = "block",
        init: float | Mapping[str, float] = 0.3,
    ) -> None:
        """Wrap the modules of `model` that some adapter changes; `restore` takes them off again.

        Args:
            model: The base, changed in place; its weights are frozen.
            experts: The adapters.
            granularity: How finely coefficients differ.
            init: Where coefficients start, for all adapters or by name.

        Raises:
            AdapterError: A module is absent (ADP024) or of another shape (ADP023).
        """
        super().__init__()
        self.names = tuple(expert.name for expert in experts)
        self.granularity: Granularity = granularity
        self._experts = tuple(experts)
        self._model = [model]  # in a list, so that the base is no submodule of the mixer
        model.requires_grad_(False)
        start = [init if isinstance(init, float | int) else init[name] for name in self.names]
        self.coefficients = nn.ParameterDict()
        self._groups: dict[str, str] = {}
        self._mixed: dict[str, MixedLinear] = {}
        for module in module_names(experts):
            mixed = self._wrap(module)
            group = _group_of(module, granularity)
            self._groups[module] = group
            width = (mixed.B_OR.shape[0],) if granularity.endswith("channel") else ()
            if group not in self.coefficients:
                values = torch.tensor(start, device=mixed.A_RD.device)
                values = values.reshape(-1, *(1,) * len(width)).expand(len(start), *width)
                self.coefficients[group] = nn.Parameter(values.clone().float())
            self._mixed[module] = mixed
        self._connect()

    def num_coefficients(self) -> int:
        """Return how many numbers are learned."""
        return sum(parameter.numel() for parameter in self.coefficients.values())

    @property
    def layers(self) -> Mapping[str, MixedLinear]:
        """The wrapped layers by module."""
        return self._mixed

    def expert(self, name: str) -> Expert:
        """Return an adapter by its name."""
        return self._experts[self.names.index(name)]

    def by_module(self) -> dict[str, dict[str, float | Tensor]]:
        """Return the coefficients as `fold` takes them: by adapter, then by module."""
        found: dict[str, dict[str, float | Tensor]] = {name: {} for name in self.names}
        for module, group in self._groups.items():
            values = self.coefficients[group].detach().cpu()
            for place, expert in enumerate(self._experts):
                if module in expert.modules:
                    each = values[place]
                    found[expert.name][module] = each.clone() if each.ndim else float(each)
        return found

    @contextmanager
    def only(self, name: str) -> Iterator[None]:
        """Run the model as one adapter alone: its coefficient 1, the others 0."""
        place = self.names.index(name)
        for module, mixed in self._mixed.items():
            values = torch.zeros_like(self.coefficients[self._groups[module]])
            values[place] = 1
            mixed.use(values)
        try:
            yield
        finally:
            self._connect()

    def restore(self) -> nn.Module:
        """Take the wrapping off and return the base as it was, frozen."""
        model = self._model[0]
        for module, mixed in self._mixed.items():
            parent, _, leaf = module.rpartition(".")
            setattr(model.get_submodule(parent), leaf, mixed.base)
        self._mixed = {}
        return model

    def _connect(self) -> None:
        for module, mixed in self._mixed.items():
            mixed.use(self.coefficients[self._groups[module]])

    def _wrap(self, module: str) -> MixedLinear:
        model = self._model[0]
        parent, _, leaf = module.rpartition(".")
        try:
            owner, base = model.get_submodule(parent), model.get_submodule(module)
        except AttributeError as error:
            raise AdapterError(
                "ADP024",
                f"the model has no module {module}",
                where=self._experts[0].folder,
                hint="Give the base model that the adapters were trained on",
            ) from error
        parts = [
            (place, expert.modules[module].A, expert.modules[module].B)
            for place, expert in enumerate(self._experts)
            if module in expert.modules
        ]
        shape = (parts[0][2].shape[0], parts[0][1].shape[1])
        own = (getattr(base, "out_features", None), getattr(base, "in_features", None))
        if None not in own and own != shape:
            raise AdapterError(
                "ADP023",
                f"{module} is {shape[0]} x {shape[1]} in the adapters, {own[0]} x {own[1]} in the "
                "model",
                where=self._experts[parts[0][0]].folder,
                hint="Give the base model that the adapters were trained on",
            )
        mixed = MixedLinear(base, parts)
        setattr(owner, leaf, mixed)
        return mixed


def _group_of(module: str, granularity: Granularity) -> str:
    """Return which coefficients a module uses; keys of a `ParameterDict` hold no dots."""
    if granularity == "task":
        return "all"
    if granularity == "block":
        return f"block_{block_of(module) or 'other'}"
    if granularity == "kind_channel":
        return re.sub(r"\.\d+\.", "/*/", module).replace(".", "/")
    return module.replace(".", "/")
