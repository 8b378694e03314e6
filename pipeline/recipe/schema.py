"""The fields of a recipe.

Fields that TRL, PEFT or transformers have too keep their name and meaning there; defaults differ
where the text under a field says so. Unknown fields are errors.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from pipeline.recipe.adapter_rules import effective_fields
from pipeline.recipe.fields import StrictFields
from pipeline.recipe.rules import find_contradictions
from pipeline.types import Json
from pipeline.yaml_reader import problems_as_validation_error

Scheduler = Literal[
    "linear",
    "cosine",
    "cosine_with_restarts",
    "cosine_with_min_lr",
    "polynomial",
    "constant",
    "constant_with_warmup",
    "inverse_sqrt",
    "warmup_stable_decay",
]
Optimizer = Literal[
    "adamw_torch",
    "adamw_torch_fused",
    "adamw_8bit",
    "paged_adamw_32bit",
    "paged_adamw_8bit",
    "lion_32bit",
    "lion_8bit",
    "adafactor",
    "sgd",
]
SaveOrEvaluateStrategy = Literal["no", "steps", "epoch"]
AdapterType = Literal["lora", "smora", "moe_lora", "hydra", "mtlora", "mtl_lora"]
RatePolicy = Literal[
    "proportional", "capped", "temperature", "sqrt", "uniform", "unimax", "explicit"
]
Decontaminate = Literal["none", "report", "drop", "error"]
LossTurns = Literal["answers", "tool_calls", "earlier_turns"]

PositiveInt = Annotated[int, Field(ge=1)]
Fraction = Annotated[float, Field(ge=0, le=1)]
BelowOne = Annotated[float, Field(ge=0, lt=1)]
Text = Annotated[str, Field(min_length=1)]
# Strict mode takes no list for a tuple, but YAML has nothing else.
TextList = Annotated[tuple[Text, ...], Field(strict=False)]


class ModelFields(StrictFields):
    """Which base model, and in what form it is loaded."""

    model_name_or_path: Text
    """`embedded`, a model folder, a hub id, or `dna-2m` to `dna-1b`: untrained, for DNA."""
    model_revision: Text | None = None
    """Commit, tag or branch on the hub; pin a commit to make a run repeatable."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Type of the base weights; `auto` is bfloat16 on a GPU and float32 on a CPU."""
    attn_implementation: Text | None = None
    """`sdpa`, `eager`, `flash_attention_2`, ...; unset lets transformers choose."""
    load_in_4bit: bool = False
    """QLoRA: keep the frozen weights in 4 bits (needs bitsandbytes)."""
    load_in_8bit: bool = False
    bnb_4bit_quant_type: Literal["nf4", "fp4"] = "nf4"
    use_bnb_nested_quant: bool = False
    chat_template_path: Text | None = None
    """Jinja file that replaces the model's own chat template."""


class AdapterOptions(StrictFields):
    """What kind of adapter, and the options of its kind; unset ones keep the kind's default."""

    type: AdapterType = "lora"
    preset: Literal["default", "paper"] | None = None
    """`paper`: what the authors' released code does where our default differs, in fields that are
    not set: for `smora` gates and balance, for `moe_lora` no balance, for `mtlora` `lora_alpha` of
    4 times the rank and `lora_dropout` of 0.05."""
    init: Literal["default", "pissa"] | None = None
    """How `lora` starts: `pissa` from the largest singular vectors of the base weights."""
    router: Literal["token", "task", "uniform"] | None = None
    """What decides how much each expert counts: the token's state, the task, or nothing."""
    num_active_ranks: PositiveInt | None = None
    """Ranks a token uses; for `smora` and `moe_lora`."""
    block_size: PositiveInt | None = None
    """Ranks per expert, for `moe_lora`; `smora` has one."""
    num_b_factors: PositiveInt | None = None
    """Up projections on one down projection; for `hydra` and `mtl_lora`."""
    num_shared_ranks: Annotated[int, Field(ge=0)] | None = None
    """Of the ranks, how many are always active; for `smora` and `moe_lora`."""
    score: Literal["sigmoid", "softmax"] | None = None
    """How logits become gates."""
    router_task_input: bool | None = None
    """The router of tokens sees the task too."""
    router_low_rank: bool | None = None
    """The router of tokens reads the rank activations instead of the state."""
    share_router: bool | None = None
    """One router for query, key and value, and one for gate and up projection."""
    balance_rate: Annotated[float, Field(ge=0, le=1)] | None = None
    """Step per optimizer step of the bias that evens out the use of experts."""
    normalise_ranks: bool | None = None
    """Rank activations have unit root mean square within an expert."""
    feature_gate: bool | None = None
    """Rank activations are gated by themselves; at the start this changes nothing."""
    task_rank: Annotated[int, Field(ge=0)] | None = None
    """Ranks of each task's own, for `mtlora`."""
    task_mixing: Literal["none", "full", "diagonal"] | None = None
    """Each task's matrix between A and B, for `mtl_lora`."""
    task_groups: Annotated[tuple[TextList, ...], Field(strict=False)] | None = None
    """Groups of tasks with experts of their own, for routed types; the rest is open to all."""
    ranks_per_group: PositiveInt | None = None
    """Ranks each group of tasks has for itself."""


class AdapterChoice(AdapterOptions):
    """Which kind of adapter; the `lora_*` fields beside it hold for every kind."""

    r: PositiveInt | None = None
    """Ranks of each adapted layer; unset reads `lora_r`."""
    start_from: Text | None = None
    """Folder of a plain LoRA that training goes on with, in place of a fresh one; for `lora`."""
    extend: Text | None = None
    """Folder of an `mtlora` adapter or a plain LoRA that stays as it is; this recipe's tasks get
    ranks of their own beside it, and nothing else is trained; for `mtlora`."""


class AdapterSettings(AdapterOptions):
    """Everything an adapter is built from, as one value."""

    rank: PositiveInt = 16
    lora_alpha: Annotated[float, Field(gt=0)] = 32
    lora_dropout: BelowOne = 0.0
    target_modules: str | tuple[str, ...] = "all-linear"
    modules_to_save: tuple[str, ...] | None = None
    use_rslora: bool = False
    use_dora: bool = False


class AdapterFields(StrictFields):
    """The adapter that is trained; names as in TRL's `ModelConfig`."""

    adapter: AdapterChoice = AdapterChoice()
    lora_r: PositiveInt = 16
    lora_alpha: Annotated[float, Field(gt=0)] = 32
    lora_dropout: BelowOne = 0.0
    """TRL's default is 0.05."""
    lora_target_modules: Text | TextList = "all-linear"
    """`all-linear` (every linear layer but the output head), one name or pattern, or a list."""
    lora_modules_to_save: TextList | None = None
    """Modules trained in full beside the adapter."""
    use_rslora: bool = False
    use_dora: bool = False

    @property
    def adapter_settings(self) -> AdapterSettings:
        """The adapter's fields as one value."""
        return AdapterSettings(
            **self.adapter.model_dump(exclude={"r", "start_from", "extend"}),
            rank=self.adapter.r or self.lora_r,
            lora_alpha=self.lora_alpha,
            lora_dropout=self.lora_dropout,
            target_modules=self.lora_target_modules,
            modules_to_save=self.lora_modules_to_save,
            use_rslora=self.use_rslora,
            use_dora=self.use_dora,
        )


class FunctionLibrary(StrictFields):
    """How the functions of a request are shown; unset keys stay as the annotation has them."""

    size: PositiveInt | None = None
    """Functions shown at most; those that are called are always among them."""
    shuffle: bool = False
    """Another order for every row."""
    mask: Literal["none", "functions", "arguments", "all"] = "none"
    """Names that say nothing, so that only descriptions tell."""
    drop: Literal["none", "descriptions", "optional"] = "none"
    """Shorter specs: without descriptions of parameters, or without parameters not needed."""
    abstain: Fraction = 0.0
    """Share of rows that lose their functions; the answer is then no call."""

    def options(self) -> dict[str, Json]:
        """Return the keys that are set."""
        return self.model_dump(exclude_unset=True)


class TaskEntry(StrictFields):
    """One task of the mixture."""

    task: Text
    """Id of an annotation."""
    weight: Annotated[float, Field(ge=0)] | None = None
    """Share of draws, relative to the other tasks; for policy `explicit`, which needs it."""
    max_train_rows: PositiveInt | None = None
    """At most this many rows are used, chosen by `seed`."""
    function_library: FunctionLibrary | None = None
    """In place of the recipe's, for this task."""


class RateFields(StrictFields):
    """How sizes become rates; meanings as in `pipeline.mixture.rates`."""

    policy: RatePolicy = "temperature"
    temperature: Annotated[float, Field(gt=0)] = 2.0
    """For `temperature`: 1 is proportional to size, large values are nearly uniform."""
    cap: PositiveInt | None = 65_536
    """Size beyond which a member counts as no larger; for `capped` and `temperature`."""


class GroupEntry(RateFields):
    """Tasks, and groups of tasks, that share one rate: rate of the group times rate inside."""

    name: Text
    weight: Annotated[float, Field(ge=0)] | None = None
    """Share of draws beside the other members; for an enclosing policy `explicit`."""
    tasks: TextList = ()
    """Ids of tasks of the recipe."""
    groups: Annotated[tuple[GroupEntry, ...], Field(strict=False)] = ()
    """Groups inside this one."""


class DynamicRates(StrictFields):
    """Rates that follow the loss, between half and twice what the policy gives."""

    by: Literal["excess_loss"] = "excess_loss"
    """More of the tasks whose loss lies furthest above their reference."""
    reference_losses: dict[str, Annotated[float, Field(ge=0)]]
    """Loss in nats per answer token that each task can reach, e.g. with an adapter of its own."""
    update_steps: PositiveInt = 100
    """Optimizer steps between two changes."""
    step_size: Annotated[float, Field(gt=0)] = 1.0
    """How strongly a change follows the loss: log of the factor per nat and update."""


class MixtureSettings(RateFields):
    """How often each task is drawn."""

    max_epochs_per_task: Annotated[float, Field(gt=0)] | None = 4.0
    """Most passes over one task; `null` for no ceiling."""
    units: Literal["examples", "tokens"] = "examples"
    """What sizes and rates count."""
    groups: Annotated[tuple[GroupEntry, ...], Field(strict=False)] = ()
    """Groups of tasks with one rate each; tasks in no group stand beside them."""
    dynamic: DynamicRates | None = None
    """Unset keeps the rates for the whole run."""


class EvaluationSettings(StrictFields):
    """What is scored after training."""

    tasks: TextList | None = None
    """Ids of annotations; unset means the tasks trained on."""
    split: Literal["train", "validation", "test"] = "test"
    max_rows: PositiveInt | None = None
    """At most this many rows per task, chosen by `seed`."""
    max_new_tokens: PositiveInt | None = None
    """Limit of an answer's length; unset leaves it to the kind of task and the gold answers."""
    batch_tokens: PositiveInt | None = None
    """Padded tokens in one forward pass; unset leaves it to the backend."""
    max_length: PositiveInt | None = None
    """Tokens of prompt and answer, of which longer prompts lose context; unset: what the model
    takes."""
    include_base: bool = True
    """Whether the model without the adapter is scored too."""
    request: Literal["auto", "generate", "choices"] = "auto"
    """Write the answer, or pick the likeliest of a row's choices; `auto` goes by the task."""
    average_strands: bool = False
    """Score choices on both strands of DNA, where the task says that they mean the same."""


def _as_entry(value: object) -> object:
    return {"task": value} if isinstance(value, str) else value


TaskList = Annotated[
    tuple[Annotated[TaskEntry, BeforeValidator(_as_entry)], ...],
    Field(strict=False),
]


class DataFields(StrictFields):
    """Which tasks, from where, and how their rows become text."""

    tasks: TaskList
    """Ids of annotations, or maps of `task`, `weight` and `max_train_rows`."""
    few_shot: PositiveInt | None = None
    """Train on so many examples of each task, spread evenly over its classes by `seed`."""
    mixture: MixtureSettings = MixtureSettings()
    data_root: Text | None = None
    """Folder with a local mirror of the datasets, or `embedded` for the generated ones; unset
    reads `TASKLOOM_DATA_ROOT`."""
    annotations: TextList = ()
    """Folders with annotations of one's own, beside the built-in ones."""
    style: Text = "plain"
    """How a row is worded: `plain`, `no_instruction`, `box` or `natural_instructions`; `box:2`
    shows two of the worked examples that the task has."""
    function_format: Text = "chat_template"
    """How function calls are written: by the model's chat template, or a dialect's name."""
    function_library: FunctionLibrary | None = None
    """How the function-calling tasks are shown their functions in training."""
    loss_on: Annotated[tuple[LossTurns, ...], Field(strict=False, min_length=1)] = (
        "answers",
        "tool_calls",
    )
    """Turns that are learned: `answers`, `tool_calls`, and assistant turns of a row's history
    (`earlier_turns`)."""
    decontaminate: Decontaminate = "report"
    """What becomes of training rows that repeat evaluated rows: `report` counts them, `drop`
    leaves them out, `error` refuses to train, `none` does not look."""
    dna_unit: Literal["letters", "single", "kmer3_overlapping", "kmer3", "kmer6", "bpe"] | None = (
        None
    )
    """How DNA is cut into tokens; a base that lacks them learns their rows with the adapter.
    Unset leaves it to the base's tokenizer; `letters` reads DNA as text."""
    dna_vocabulary_size: Annotated[int, Field(ge=5, le=65_536)] = 1024
    """Words of the unit `bpe` at most, learned from the training sequences."""
    task_tokens: bool = False
    """End each task's prompts with a token of its own, such as `<task:gue/emp_H3>`."""
    label_tokens: bool = False
    """Answer closed questions with one token per label, such as `<label:yes>`."""
    both_strands: bool = False
    """Train on each sequence and on its other strand, in tasks whose strands mean the same: such a
    task has twice its rows. The other strand of row `i` of `N` is row `N + i`."""
    max_length: PositiveInt = 1024
    """Tokens per row; longer contexts are shortened, answers are not."""
    packing: bool = True
    """Put several examples into one row, with attention kept apart. TRL's default is false."""

    def train_rows_of(self, entry: TaskEntry) -> int | None:
        """Return how many examples of a task are trained on at most; `None` for all."""
        limits = [limit for limit in (self.few_shot, entry.max_train_rows) if limit is not None]
        return min(limits, default=None)

    def library_of(self, entry: TaskEntry) -> dict[str, Json]:
        """Return the options that vary the functions of a task; empty to leave them."""
        chosen = entry.function_library or self.function_library
        return {} if chosen is None else chosen.options()


class OptimisationFields(StrictFields):
    """The loop itself; names as in transformers' `TrainingArguments`."""

    loss_reduction: Literal["token", "example", "task"] = "token"
    """Mean over answer tokens, examples or tasks. By token, short answers count for little."""
    learning_rate: Annotated[float, Field(gt=0)] = 2e-4
    """TRL's default of 2e-5 is meant for full fine-tuning."""
    lr_scheduler_type: Scheduler = "cosine"
    lr_scheduler_kwargs: dict[str, bool | int | float | str] | None = None
    warmup_steps: Annotated[float, Field(ge=0)] = 0
    """Steps; below 1 it is a share of all steps."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    adam_beta1: BelowOne = 0.9
    adam_beta2: BelowOne = 0.999
    adam_epsilon: Annotated[float, Field(gt=0)] = 1e-8
    max_grad_norm: Annotated[float, Field(ge=0)] = 1.0
    """Larger gradients are scaled down to this norm; 0 leaves them."""
    optim: Optimizer = "adamw_torch_fused"
    per_device_train_batch_size: PositiveInt = 8
    """Rows in one forward pass of one device."""
    gradient_accumulation_steps: PositiveInt = 1
    max_steps: int = -1
    """Optimizer updates; -1 follows `num_train_epochs`."""
    num_train_epochs: Annotated[float, Field(gt=0)] = 1.0
    """Passes over the mixture. TRL's default is 3."""
    bf16: bool | None = None
    """Compute in bfloat16; unset means where the GPU or CPU has it in hardware."""
    fp16: bool = False
    gradient_checkpointing: bool = False
    """Recompute activations to save memory. TRL's default is true."""
    activation_offloading: bool = False
    """Keep activations in the memory of the host between forward and backward; GPUs only."""
    use_liger_kernel: bool = False
    """Fused layer kernels; GPUs only, needs the package liger-kernel."""
    torch_compile: bool = False
    dataset_num_proc: PositiveInt | None = None
    """Processes that normalise and tokenise on behalf of one training process; unset shares the
    cores out."""
    dataloader_num_workers: Annotated[int, Field(ge=0)] = 0
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 42


class RunFields(StrictFields):
    """Where the run lives, and what is kept and reported."""

    schema_version: Literal[1] = 1
    run_name: Text | None = None
    """Unset means the name of the recipe file."""
    output_dir: Text | None = None
    """The run folder; unset means `runs/<run_name>`."""
    overwrite_output_dir: bool = False
    """Whether a run folder of another recipe may be replaced."""
    logging_steps: PositiveInt = 10
    eval_strategy: SaveOrEvaluateStrategy = "no"
    """When the loss on up to 512 rows of each validation split is measured; an epoch is one pass
    over the mixture, and needs a run without `max_steps`."""
    eval_steps: PositiveInt = 500
    per_device_eval_batch_size: PositiveInt = 8
    save_strategy: SaveOrEvaluateStrategy = "steps"
    save_steps: PositiveInt = 500
    save_total_limit: PositiveInt | None = 2
    """Older checkpoints are removed."""
    metric_for_best_model: Literal["macro", "worst", "weighted"] = "macro"
    """Which summary of the tasks' validation losses decides what is best: their plain mean, the
    worst task, or the mean over answer tokens."""
    early_stopping_patience: PositiveInt | None = None
    """Evaluations in a row without a new best after which the run ends; unset never ends it."""
    load_best_model_at_end: bool = False
    """Whether the adapter is that of the best checkpoint, not of the last step."""
    resume_from_checkpoint: Text | None = None
    """Checkpoint folder, or `auto` for the newest of this run."""
    report_to: Text | TextList = "none"
    """`none`, or trackers such as `tensorboard`, `trackio`, `wandb`."""


class Recipe(OptimisationFields, DataFields, AdapterFields, ModelFields, RunFields):
    """One training run, fully described."""

    evaluation: EvaluationSettings | None = None
    """What is scored after training; unset means nothing."""

    @model_validator(mode="after")
    def _check_contradictions(self) -> Self:
        for name, value in effective_fields(self).items():
            # So that a recipe tells what is trained, and loads back as the same one.
            object.__setattr__(self, name, value)
        problems = find_contradictions(self)
        if problems:
            raise problems_as_validation_error(problems)
        return self
