"""The fields of a recipe.

Fields that TRL, PEFT or transformers have too keep their name and meaning there; defaults differ
where the text under a field says so. Unknown fields are errors.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from pipeline.recipe.rules import find_contradictions
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
AdapterType = Literal["lora"]
RatePolicy = Literal[
    "proportional", "capped", "temperature", "sqrt", "uniform", "unimax", "explicit"
]

PositiveInt = Annotated[int, Field(ge=1)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Text = Annotated[str, Field(min_length=1)]
# Strict mode takes no list for a tuple, but YAML has nothing else.
TextList = Annotated[tuple[Text, ...], Field(strict=False)]


class _Fields(BaseModel):
    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        protected_namespaces=(),
        use_attribute_docstrings=True,
        allow_inf_nan=False,
    )


class ModelFields(_Fields):
    """Which base model, and in what form it is loaded."""

    model_name_or_path: Text
    """`embedded`, a model folder, or a hub id."""
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


class AdapterChoice(_Fields):
    """Which kind of adapter; its size is set by the `lora_*` fields beside it."""

    type: AdapterType = "lora"


class AdapterSettings(_Fields):
    """Everything an adapter is built from, as one value."""

    type: AdapterType = "lora"
    rank: PositiveInt = 16
    lora_alpha: Annotated[float, Field(gt=0)] = 32
    lora_dropout: Fraction = 0.0
    target_modules: str | tuple[str, ...] = "all-linear"
    modules_to_save: tuple[str, ...] | None = None
    use_rslora: bool = False
    use_dora: bool = False


class AdapterFields(_Fields):
    """The adapter that is trained; names as in TRL's `ModelConfig`."""

    adapter: AdapterChoice = AdapterChoice()
    lora_r: PositiveInt = 16
    lora_alpha: Annotated[float, Field(gt=0)] = 32
    lora_dropout: Fraction = 0.0
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
            type=self.adapter.type,
            rank=self.lora_r,
            lora_alpha=self.lora_alpha,
            lora_dropout=self.lora_dropout,
            target_modules=self.lora_target_modules,
            modules_to_save=self.lora_modules_to_save,
            use_rslora=self.use_rslora,
            use_dora=self.use_dora,
        )


class TaskEntry(_Fields):
    """One task of the mixture."""

    task: Text
    """Id of an annotation."""
    weight: Annotated[float, Field(ge=0)] | None = None
    """Share of draws, relative to the other tasks; for policy `explicit`, which needs it."""
    max_train_rows: PositiveInt | None = None
    """At most this many rows are used, chosen by `seed`."""


class MixtureSettings(_Fields):
    """How often each task is drawn; meanings as in `pipeline.mixture.rates`."""

    policy: RatePolicy = "temperature"
    temperature: Annotated[float, Field(gt=0)] = 2.0
    """For `temperature`: 1 is proportional to size, large values are nearly uniform."""
    cap: PositiveInt | None = 65_536
    """Size beyond which a task counts as no larger; for `capped` and `temperature`."""
    max_epochs_per_task: Annotated[float, Field(gt=0)] | None = 4.0
    """Most passes over one task; `null` for no ceiling."""
    units: Literal["examples", "tokens"] = "examples"
    """What sizes and rates count."""


class EvaluationSettings(_Fields):
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
    include_base: bool = True
    """Whether the model without the adapter is scored too."""
    request: Literal["auto", "generate", "choices"] = "auto"
    """Write the answer, or pick the likeliest of a row's choices; `auto` goes by the task."""


def _as_entry(value: object) -> object:
    return {"task": value} if isinstance(value, str) else value


TaskList = Annotated[
    tuple[Annotated[TaskEntry, BeforeValidator(_as_entry)], ...],
    Field(strict=False),
]


class DataFields(_Fields):
    """Which tasks, from where, and how their rows become text."""

    tasks: TaskList
    """Ids of annotations, or maps of `task`, `weight` and `max_train_rows`."""
    mixture: MixtureSettings = MixtureSettings()
    data_root: Text | None = None
    """Folder with a local mirror of the datasets, or `embedded` for the generated ones; unset
    reads `TASKLOOM_DATA_ROOT`."""
    annotations: TextList = ()
    """Folders with annotations of one's own, beside the built-in ones."""
    style: Text = "plain"
    """How a row is worded."""
    function_format: Text = "chat_template"
    """How function calls are written: by the model's chat template, or a dialect's name."""
    max_length: PositiveInt = 1024
    """Tokens per row; longer contexts are shortened, answers are not."""
    packing: bool = True
    """Put several examples into one row, with attention kept apart. TRL's default is false."""


class OptimisationFields(_Fields):
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
    adam_beta1: Fraction = 0.9
    adam_beta2: Fraction = 0.999
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
    torch_compile: bool = False
    dataloader_num_workers: Annotated[int, Field(ge=0)] = 0
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 42


class RunFields(_Fields):
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
    """When the loss on up to 512 rows of each validation split is measured."""
    eval_steps: PositiveInt = 500
    per_device_eval_batch_size: PositiveInt = 8
    save_strategy: SaveOrEvaluateStrategy = "steps"
    save_steps: PositiveInt = 500
    save_total_limit: PositiveInt | None = 2
    """Older checkpoints are removed."""
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
        problems = find_contradictions(self)
        if problems:
            raise problems_as_validation_error(problems)
        return self
