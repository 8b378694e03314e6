"""RegMean: the merged layer whose outputs lie closest to those of the adapters on their own tasks.

For inputs `X_t` of a layer on task t, the change of its weight that minimises

    sum_t |X_t (dW - dW_t)^T|^2     is     dW = (sum_t dW_t G_t) (sum_t G_t)^-1,  G_t = X_t^T X_t

(arXiv:2212.09849, for changes of one base instead of whole weights). With `dW_t = B_t A_t` the
result is a LoRA of rank `sum r_t`: the same `B_t` beside each other, and `A_t G_t (sum_t G_t)^-1`
below each other. So of each task only `A_t G_t` is kept, not `G_t`.

    N tokens, D inputs, O outputs, R ranks
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn

from pipeline.adapters.merging.factors import Factors
from pipeline.adapters.merging.mixer import Mixer

_RIDGE = 1e-6
"""Added to the diagonal at first, relative to its mean: inputs that are always 0 have no inverse.
Where it is not enough, ten times as much is, and so on up to 1."""


class RegMean:
    """Collects inner products of layer inputs, task by task, and solves for the merged layers."""

    def __init__(self, mixer: Mixer, *, off_diagonal: float = 0.9) -> None:
        """Start with nothing collected.

        Args:
            mixer: The wrapped model's.
            off_diagonal: What products of different inputs are multiplied with, 0 to 1; below 1
                the solution depends less on the rows at hand.
        """
        self._mixer = mixer
        self._off_diagonal = off_diagonal
        self._total_DD: dict[str, Tensor] = {}
        self._weighted_A: dict[str, list[Tensor]] = {}
        self._B: dict[str, list[Tensor]] = {}

    @torch.no_grad()
    def add_task(
        self, name: str, masks_BT: Iterable[Tensor], forward: Callable[[int], object]
    ) -> None:
        """Run the model as one adapter over rows of its task, and keep what is needed.

        In memory meanwhile: two `[D, D]` per layer, this task's and the sum. Each task counts
        alike, whatever its number of tokens.

        Args:
            name: Of the adapter.
            masks_BT: One per batch, true for tokens that are no padding.
            forward: Runs the model on the batch of that number.
        """
        products: dict[str, Tensor] = {}
        current: list[Tensor] = []
        num_tokens = 0
        with ExitStack() as stack:
            stack.enter_context(self._mixer.only(name))
            for module, layer in self._mixer.layers.items():
                hook = _collector(products, module, current)
                stack.callback(layer.register_forward_pre_hook(hook).remove)
            for number, mask_BT in enumerate(masks_BT):
                current[:] = [mask_BT]
                num_tokens += int(mask_BT.sum())
                forward(number)
        expert = self._mixer.expert(name)
        for module, product_DD in products.items():
            diagonal_D = product_DD.diagonal().clone()
            product_DD *= self._off_diagonal
            product_DD.diagonal().copy_(diagonal_D)
            product_DD /= max(num_tokens, 1)
            if module in expert.modules:
                factors = expert.modules[module]
                A_RD = factors.A.to(product_DD)
                self._weighted_A.setdefault(module, []).append(A_RD @ product_DD)
                self._B.setdefault(module, []).append(factors.B)
            total = self._total_DD.get(module)
            self._total_DD[module] = product_DD if total is None else total.add_(product_DD)

    def solve(self) -> dict[str, Factors]:
        """Return the merged factors by module, of rank `sum r_t`."""
        merged = {}
        for module, parts in self._weighted_A.items():
            factor_DD = _cholesky(self._total_DD.pop(module).double())
            right_RD = torch.cat(parts)
            solved_DR = torch.cholesky_solve(right_RD.double().T, factor_DD)
            B_OR = torch.cat(self._B[module], dim=1)
            merged[module] = Factors(A=solved_DR.T.to(B_OR.dtype).cpu().contiguous(), B=B_OR)
        return merged


def _cholesky(total_DD: Tensor) -> Tensor:
    """Return the Cholesky factor, with as little on the diagonal as makes it one.

    Products of fewer tokens than inputs have no inverse, and rounding in float32 can make them
    worse than that.
    """
    diagonal = total_DD.diagonal()
    mean = float(diagonal.mean()) or 1.0
    ridge = _RIDGE
    diagonal.add_(ridge * mean)
    factor_DD, info = torch.linalg.cholesky_ex(total_DD)
    while int(info) and ridge < 1:
        diagonal.add_(9 * ridge * mean)
        ridge *= 10
        factor_DD, info = torch.linalg.cholesky_ex(total_DD)
    return factor_DD


def _collector(
    products: dict[str, Tensor], module: str, mask: list[Tensor]
) -> Callable[[nn.Module, tuple[Any, ...]], None]:
    def collect(layer: nn.Module, inputs: tuple[Any, ...]) -> None:
        x_ND = inputs[0][mask[0]]
        x_ND = x_ND if x_ND.dtype == torch.float64 else x_ND.float()
        product_DD = x_ND.T @ x_ND
        known = products.get(module)
        products[module] = product_DD if known is None else known.add_(product_DD)

    return collect
