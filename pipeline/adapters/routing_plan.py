"""What one layer's configuration comes down to: numbers of ranks, experts and columns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

if TYPE_CHECKING:
    from pipeline.adapters.routed_config import RoutedConfig, Router, Score

BIAS_UNITS = 2**20
"""The balance bias is an int32 in these units: exact, and untouched by casts to bfloat16."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RoutingPlan:
    """Shape and rules of one adapted layer.

    Columns of B are: `num_shared` always-on ones, then `num_experts` blocks of `block_size`.
    With `num_copies` above 1, every block reads the same rows of A.
    """

    router: Router
    num_ranks: int
    """Rows of A."""
    num_shared: int
    num_experts: int
    """0: no expert is routed, which is LoRA."""
    block_size: int
    num_copies: int
    num_active: int
    """Experts a token uses."""
    scaling: float
    gate_total: float
    """What the gates of a token sum to."""
    score: Score
    temperature: float
    biased_gates: bool
    normalise_gates: bool
    low_rank_router: bool
    task_input: bool
    normalise_ranks: bool
    feature_gate: bool
    mixing: Literal["none", "full", "diagonal"]
    num_tasks: int
    group_of_task: tuple[int, ...]
    """Group of each task, -1 for none; empty without groups."""
    group_sizes: tuple[int, ...]
    """Experts of each group; they stand behind those open to all tasks."""

    @property
    def num_columns(self) -> int:
        """Columns of B."""
        return self.num_shared + self.num_experts * self.block_size

    @property
    def is_plain(self) -> bool:
        """Whether the layer is LoRA: no gate, and nothing between A and B."""
        return not (
            self.num_experts or self.normalise_ranks or self.feature_gate or self.mixing != "none"
        )

    @property
    def is_constant(self) -> bool:
        """Whether all tokens of a task get the same linear update, so that it can be exported."""
        by_token = self.router == "token" and self.num_experts > 0
        return not (by_token or self.normalise_ranks or self.feature_gate)

    @property
    def needs_tasks(self) -> bool:
        """Whether the layer must know the task of its tokens."""
        return (
            (self.num_experts > 0 and (self.router in ("task", "own") or self.task_input))
            or self.mixing != "none"
            or bool(self.group_sizes)
        )

    @property
    def has_logits(self) -> bool:
        """Whether gates are learned."""
        return self.num_experts > 0 and self.router in ("token", "task")

    @property
    def selects(self) -> bool:
        """Whether a token uses some experts only."""
        return self.has_logits and self.num_active < self.num_experts

    @property
    def segments(self) -> list[tuple[int, int]]:
        """Ranges of experts that compete: those open to all, then each group's."""
        first = self.num_experts - sum(self.group_sizes)
        ranges = [(0, first)] if first else []
        for size in self.group_sizes:
            ranges.append((first, first + size))
            first += size
        return ranges

    def allowed_experts(self, device: torch.device) -> Tensor | None:
        """Return which experts each task may use, bool `[num_tasks + 1, E]`; last: no task."""
        if not self.group_sizes:
            return None
        open_to_all = self.num_experts - sum(self.group_sizes)
        rows = []
        for group in (*self.group_of_task, -1):
            row = [True] * open_to_all
            for number, size in enumerate(self.group_sizes):
                row += [number == group] * size
            rows.append(row)
        return torch.tensor(rows, device=device)


def build_plan(config: RoutedConfig, *, r: int, lora_alpha: float) -> RoutingPlan:
    """Return the plan of a layer with `r` ranks.

    Raises:
        ValueError: The numbers do not fit together.
    """
    shared, experts, block, copies, rows = _count_experts(config, r)
    active, active_ranks = _count_active(config, experts=experts, block=block, shared=shared)
    if copies > 1 or config.router in ("uniform", "own"):
        active_ranks = r
    group_sizes = tuple(config.ranks_per_group // block for _ in config.task_groups)
    if config.task_groups and (
        config.ranks_per_group % block or sum(group_sizes) + active > experts or copies > 1
    ):
        raise ValueError(
            f"ranks_per_group: {len(group_sizes)} groups of {config.ranks_per_group} ranks leave "
            f"too few of {experts} experts open to all tasks, {active} are needed"
        )
    group_of = {task: place for place, group in enumerate(config.task_groups) for task in group}
    return RoutingPlan(
        router=config.router,
        num_ranks=rows,
        num_shared=shared,
        num_experts=experts,
        block_size=block,
        num_copies=copies,
        num_active=active,
        scaling=lora_alpha / active_ranks,
        gate_total=1.0 if copies > 1 else float(active),
        score=config.score,
        temperature=config.temperature,
        biased_gates=config.gate_source == "biased",
        normalise_gates=config.normalise_gates,
        low_rank_router=config.router_low_rank,
        task_input=config.router_task_input,
        normalise_ranks=config.normalise_ranks,
        feature_gate=config.feature_gate,
        mixing=config.task_mixing,
        num_tasks=len(config.task_names),
        group_of_task=tuple(group_of.get(task, -1) for task in config.task_names)
        if config.task_groups
        else (),
        group_sizes=group_sizes,
    )


def _count_experts(config: RoutedConfig, r: int) -> tuple[int, int, int, int, int]:
    """Return shared columns, experts, ranks per expert, copies of B, and rows of A."""
    if config.router == "own":
        experts = len(config.task_names) if config.task_rank else 0
        return r, experts, max(config.task_rank, 1), 1, r + experts * config.task_rank
    if config.num_b_factors > 1 or config.experts_are_factors:
        if config.num_shared_ranks or config.block_size > 1 or config.num_active_ranks:
            raise ValueError(
                "num_b_factors: several B factors use all ranks of one A; allowed are neither "
                "num_shared_ranks nor block_size nor num_active_ranks beside them"
            )
        if config.num_b_factors == 1:
            return r, 0, 1, 1, r
        return 0, config.num_b_factors, r, config.num_b_factors, r
    if config.router == "uniform":
        return r, 0, config.block_size, 1, r
    routed = r - config.num_shared_ranks
    if routed < 1 or routed % config.block_size:
        raise ValueError(
            f"r: {r} ranks without {config.num_shared_ranks} shared ones are {routed}, allowed a "
            f"multiple of block_size {config.block_size}"
        )
    return config.num_shared_ranks, routed // config.block_size, config.block_size, 1, r


def _count_active(
    config: RoutedConfig, *, experts: int, block: int, shared: int
) -> tuple[int, int]:
    """Return experts per token, and the ranks that are active with them."""
    wanted = config.num_active_ranks
    if config.router in ("uniform", "own") or config.num_b_factors > 1 or wanted is None:
        return experts, experts * block + shared
    if wanted % block or not block <= wanted <= experts * block:
        raise ValueError(
            f"num_active_ranks: got {wanted}, allowed multiples of {block} from {block} to "
            f"{experts * block}"
        )
    return wanted // block, wanted + shared
