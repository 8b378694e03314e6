"""PEFT configurations of the multi-task adapter family.

Types: `smora`, `moe_lora`, `hydra`, `mtlora`, `mtl_lora`. One family on one axis: the rows of a
low-rank factor are cut into experts of `block_size` ranks, and a router decides how much each
expert counts for each token. One rank per expert is SMoRA (arXiv:2501.15103), several are a
mixture of LoRAs, all ranks in one expert with several up projections is HydraLoRA
(arXiv:2404.19245). With a router that knows the task instead of the token come MTLoRA
(arXiv:2403.20320) and MTL-LoRA (arXiv:2410.09437). With no router it is LoRA.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Self

from peft import PeftConfig

Router = Literal["token", "task", "uniform", "own"]
"""`token`: scores of the token's state; `task`: learned scores per task; `uniform`: every expert
counts alike; `own`: each task has its own expert (MTLoRA), nothing is learned."""
Score = Literal["sigmoid", "softmax"]


SHARED_INPUT_GROUPS = (("q_proj", "k_proj", "v_proj"), ("gate_proj", "up_proj"))
"""Modules that read the same state in transformers' decoder models."""


@dataclass
class RoutedConfig(PeftConfig):
    """Fields of all types; each type has its own defaults.

    Raises:
        ValueError: Fields contradict each other, or ask for something the family cannot do.
    """

    method: ClassVar[str] = ""
    _given: ClassVar[frozenset[str]] = frozenset()
    experts_are_factors: ClassVar[bool] = False
    """Whether the experts are the B factors, so that a single one is no expert."""

    r: int = field(default=64, metadata={"help": "Rows of A, shared ones included."})
    lora_alpha: float = field(
        default=16, metadata={"help": "The update is scaled by lora_alpha / active ranks."}
    )
    lora_dropout: float = field(default=0.0, metadata={"help": "On the input of A and router."})
    target_modules: list[str] | str | None = None
    exclude_modules: list[str] | str | None = None
    target_parameters: list[str] | None = None
    layers_to_transform: list[int] | int | None = None
    layers_pattern: list[str] | str | None = None
    rank_pattern: dict[str, int] = field(default_factory=dict)
    alpha_pattern: dict[str, float] = field(default_factory=dict)
    modules_to_save: list[str] | None = None
    trainable_token_indices: list[int] | dict[str, list[int]] | None = None
    bias: Literal["none"] = "none"
    init_weights: bool = field(
        default=True, metadata={"help": "False: B is random too, so that tests see a change."}
    )

    preset: Literal["default", "paper"] = field(
        default="default", metadata={"help": "paper: what the authors do, in fields not given."}
    )
    router: Router = "token"
    block_size: int = field(default=1, metadata={"help": "Ranks per expert."})
    num_active_ranks: int | None = field(
        default=None, metadata={"help": "Routed ranks a token uses; None: all of them."}
    )
    num_shared_ranks: int = field(default=0, metadata={"help": "First ranks, always active."})
    num_b_factors: int = field(default=1, metadata={"help": "Up projections on one A."})
    score: Score = "sigmoid"
    temperature: float = field(default=1.0, metadata={"help": "Of the softmax."})
    gate_source: Literal["plain", "biased"] = field(
        default="plain", metadata={"help": "Whether the balance bias only selects."}
    )
    normalise_gates: bool = field(
        default=True, metadata={"help": "Selected gates sum to their number."}
    )
    router_task_input: bool = field(
        default=False, metadata={"help": "The token router sees an embedding of the task too."}
    )
    router_low_rank: bool = field(
        default=False, metadata={"help": "The router reads A x instead of x."}
    )
    share_router: bool = field(
        default=False, metadata={"help": "One router for modules that read the same state."}
    )
    balance_rate: float = field(
        default=1e-3, metadata={"help": "Step of the balance bias; 0 switches it off."}
    )
    balance_until: float = field(
        default=0.9, metadata={"help": "Share of the run after which the bias stands still."}
    )
    balance_centred: bool = True
    normalise_ranks: bool = field(
        default=False, metadata={"help": "A x has unit root mean square within an expert."}
    )
    feature_gate: bool = field(
        default=False, metadata={"help": "A x is multiplied by 2 sigmoid(F A x); F starts at 0."}
    )
    task_names: list[str] = field(default_factory=list)
    task_rank: int = field(default=0, metadata={"help": "Own ranks of each task (mtlora)."})
    task_mixing: Literal["none", "full", "diagonal"] = field(
        default="none", metadata={"help": "Matrix of each task between A and B (mtl_lora)."}
    )
    task_groups: list[list[str]] = field(
        default_factory=list, metadata={"help": "Tasks that share private experts."}
    )
    ranks_per_group: int = field(default=0, metadata={"help": "Ranks kept for each group."})

    def __new__(cls, *_: Any, **given: Any) -> Self:  # noqa: ANN401 - any field
        """Note which fields are given by name: a preset leaves these alone."""
        config = super().__new__(cls)
        config._given = frozenset(given)
        return config

    def __post_init__(self) -> None:
        """Fill in the preset, and check that the fields fit together."""
        super().__post_init__()
        from peft import PeftType

        self.peft_type = getattr(PeftType, self.method.upper())
        for name in ("target_modules", "exclude_modules"):
            value = getattr(self, name)
            if isinstance(value, list | tuple):
                setattr(self, name, set(value))
        if self.preset == "paper":
            for name, value in self._paper_preset().items():
                if name not in self._given:
                    setattr(self, name, value)
        self._check()

    @classmethod
    def saved_type(cls) -> str:
        """Return what stands under `peft_type` in a saved configuration.

        PEFT looks this text up and, where our package was not imported, shows it as the key that
        it does not know. It has no other place for a word to that user.
        """
        return f"{cls.method.upper()}: install taskloom, and `import pipeline.adapters` first"

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as they are saved."""
        return {**super().to_dict(), "peft_type": self.saved_type()}

    @property
    def needs_tasks(self) -> bool:
        """Whether a forward pass must know the task of its tokens."""
        return (
            self.router in ("task", "own")
            or self.router_task_input
            or self.task_mixing != "none"
            or bool(self.task_groups)
        )

    def _paper_preset(self) -> dict[str, Any]:
        """Return what the authors' released code does where our default differs."""
        return {}

    def _check(self) -> None:
        for name, value, least in (
            ("r", self.r, 1),
            ("block_size", self.block_size, 1),
            ("num_b_factors", self.num_b_factors, 1),
            ("num_shared_ranks", self.num_shared_ranks, 0),
            ("task_rank", self.task_rank, 0),
            ("ranks_per_group", self.ranks_per_group, 0),
        ):
            if value < least:
                raise ValueError(f"{name}: got {value}, allowed {least} or more")
        if self.target_parameters:
            raise ValueError(
                "target_parameters: fused expert parameters cannot carry a routed adapter, "
                "because its update depends on the token; use a `lora` adapter for them"
            )
        if self.bias != "none":
            raise ValueError(f"bias: got {self.bias!r}, allowed 'none'")
        if self.gate_source == "biased" and self.score != "sigmoid":
            raise ValueError("gate_source: 'biased' needs score 'sigmoid'")
        if not self.normalise_gates and self.score != "sigmoid":
            raise ValueError("normalise_gates: only sigmoid gates can stay as they are")
        if self.router_low_rank and self.router != "token":
            raise ValueError(f"router_low_rank: got router {self.router!r}, allowed 'token'")
        if self.router_task_input and self.router != "token":
            raise ValueError(f"router_task_input: got router {self.router!r}, allowed 'token'")
        self._check_tasks()

    def _check_tasks(self) -> None:
        if self.needs_tasks and not self.task_names:
            raise ValueError("task_names: an adapter that knows tasks needs their names")
        if len(set(self.task_names)) != len(self.task_names):
            raise ValueError("task_names: a name stands twice")
        if bool(self.task_groups) != bool(self.ranks_per_group):
            raise ValueError("task_groups and ranks_per_group need each other")
        grouped = [task for group in self.task_groups for task in group]
        unknown = sorted(set(grouped) - set(self.task_names))
        if unknown:
            raise ValueError(f"task_groups: no task is named {unknown[0]!r}")
        if len(set(grouped)) != len(grouped):
            raise ValueError("task_groups: a task stands in two groups")


@dataclass
class SmoraConfig(RoutedConfig):
    """Each rank an expert; a token uses `num_active_ranks` of them."""

    method: ClassVar[str] = "smora"
    num_active_ranks: int | None = 8

    def _paper_preset(self) -> dict[str, Any]:
        # The released layer: gates from biased scores, a step of 1e-5 without centring.
        return {
            "gate_source": "biased",
            "balance_rate": 1e-5,
            "balance_centred": False,
            "balance_until": 1.0,
        }


@dataclass
class MoeLoraConfig(RoutedConfig):
    """Blocks of ranks as experts, top-k by softmax."""

    method: ClassVar[str] = "moe_lora"
    block_size: int = 8
    num_active_ranks: int | None = 16
    score: Score = "softmax"

    def _paper_preset(self) -> dict[str, Any]:
        # Mixtures of LoRAs have no selection bias.
        return {"balance_rate": 0.0}


@dataclass
class HydraConfig(RoutedConfig):
    """One A, several B, mixed by a softmax over all of them."""

    method: ClassVar[str] = "hydra"
    experts_are_factors: ClassVar[bool] = True
    r: int = 8
    num_b_factors: int = 4
    score: Score = "softmax"
    balance_rate: float = 0.0


@dataclass
class MtloraConfig(RoutedConfig):
    """Ranks for all tasks, and ranks of each task's own."""

    method: ClassVar[str] = "mtlora"
    router: Router = "own"
    task_rank: int = 4
    balance_rate: float = 0.0

    def _paper_preset(self) -> dict[str, Any]:
        # A constant scale of 4, whatever the rank, and a dropout of 0.05.
        return {"lora_alpha": 4.0 * self.r, "lora_dropout": 0.05}


@dataclass
class MtlLoraConfig(RoutedConfig):
    """Shared A and B factors; per task a matrix between them and weights of the B factors."""

    method: ClassVar[str] = "mtl_lora"
    experts_are_factors: ClassVar[bool] = True
    r: int = 8
    router: Router = "task"
    num_b_factors: int = 3
    score: Score = "softmax"
    temperature: float = 0.05
    task_mixing: Literal["none", "full", "diagonal"] = "full"
    balance_rate: float = 0.0


CONFIGS: dict[str, type[RoutedConfig]] = {
    config.method: config
    for config in (SmoraConfig, MoeLoraConfig, HydraConfig, MtloraConfig, MtlLoraConfig)
}
"""Every type of the family, by its name in a recipe."""
