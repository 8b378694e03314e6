"""Rates that follow how far each task's loss lies above what it could be.

    excess_t = max(loss_t - reference_t, 0)
    log f_t += step_size * (excess_t - mean excess), cut to [log 1/2, log 2]
    rate_t = static rate_t * c * f_t, cut to half and twice the static rate; c makes the sum 1

The update is DoReMi's (arXiv:2305.10429, algorithm 1); it moves rates instead of loss weights, and
is bounded, because losses chase tasks that are only noisy.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import cast

import numpy as np
import numpy.typing as npt

from pipeline.types import Json

LOWEST_FACTOR, HIGHEST_FACTOR = 0.5, 2.0
_FACTOR_DIGITS = 2
"""Losses of a step differ in the last digits between numbers of processes; rates must not."""
_BISECTIONS = 60
_AGREEING_ROUNDS = 30

FloatArray = npt.NDArray[np.float64]


class ExcessLossRates:
    """The rates of one run, changed from time to time."""

    def __init__(
        self,
        static_rates: Sequence[float],
        reference_losses: Sequence[float],
        *,
        step_size: float,
        highest_rates: Callable[[FloatArray], FloatArray] | None = None,
    ) -> None:
        """Start at the static rates.

        Args:
            static_rates: What the mixture's policy gives; shares that sum to 1, `[T]`.
            reference_losses: Loss each task can reach, in nats per answer token, `[T]`.
            step_size: Log of the factor per nat of excess and update.
            highest_rates: Says, of rates `[T]`, beyond which rate each task would be repeated too
                often; one below the static rate counts as the static rate.
        """
        self._static = np.asarray(static_rates, dtype=np.float64)
        self._references = np.asarray(reference_losses, dtype=np.float64)
        self._step_size = step_size
        self._highest_rates = highest_rates
        self._log_factors = np.zeros(len(self._static))

    def update(self, losses: Sequence[float | None]) -> list[float]:
        """Take the losses since the last update into account; return the new rates.

        Args:
            losses: Mean loss of each task in nats per answer token; `None` where there was none.
        """
        is_seen = np.array([loss is not None for loss in losses]) & (self._static > 0)
        if is_seen.any():
            known = np.array([0.0 if loss is None else loss for loss in losses])
            excess = np.maximum(known - self._references, 0.0)
            mean = np.average(excess[is_seen], weights=self._static[is_seen])
            moved = self._log_factors + self._step_size * (excess - mean)
            bounds = np.log([LOWEST_FACTOR, HIGHEST_FACTOR])
            self._log_factors = np.where(is_seen, np.clip(moved, *bounds), self._log_factors)
        return self.rates()

    def rates(self) -> list[float]:
        """Return the rates as they are now; shares that sum to 1."""
        factors: FloatArray = np.exp(self._log_factors).round(_FACTOR_DIGITS).astype(np.float64)
        highest = self._highest_factors(self._static)
        rates = self._bounded(factors, highest)
        for _ in range(_AGREEING_ROUNDS if self._highest_rates is not None else 0):
            # Other rates draw shorter or longer examples, so that more or fewer fill the run.
            highest = (highest + self._highest_factors(rates)) / 2
            rates = self._bounded(factors, highest)
        return cast("list[float]", rates.tolist())

    def state(self) -> list[Json]:
        """Return what must be kept to go on."""
        return cast("list[Json]", self._log_factors.tolist())

    def load_state(self, state: Sequence[Json]) -> None:
        """Go on from a state of `state`."""
        self._log_factors = np.array(state, dtype=np.float64)

    def _highest_factors(self, rates: FloatArray) -> FloatArray:
        """Return how far each static rate may be raised, where the run draws at `rates`."""
        highest = np.full(len(self._static), HIGHEST_FACTOR)
        if self._highest_rates is not None:
            drawn = self._static > 0
            limits = self._highest_rates(rates)[drawn] / self._static[drawn]
            highest[drawn] = np.clip(limits, 1.0, HIGHEST_FACTOR)
        return highest

    def _bounded(self, factors: FloatArray, highest: FloatArray) -> FloatArray:
        """Return rates that sum to 1 within the bounds."""

        def scaled(scale: float) -> FloatArray:
            return self._static * np.clip(scale * factors, LOWEST_FACTOR, highest)

        low, high = LOWEST_FACTOR / factors.max(), HIGHEST_FACTOR / factors.min()
        for _ in range(_BISECTIONS):
            middle = (low + high) / 2
            if scaled(middle).sum() < 1.0:
                low = middle
            else:
                high = middle
        return scaled(high)
