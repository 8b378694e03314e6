"""From a merge recipe with `fit` to what is merged: model, rows, answers, fitting."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from pipeline.adapters.base_fingerprint import BaseFingerprint
from pipeline.adapters.merging.factors import Expert, check_base
from pipeline.adapters.merging.merge import Fitted
from pipeline.adapters.merging.mixer import Mixer
from pipeline.adapters.merging.regmean import RegMean
from pipeline.annotations import builtin_folder, load_catalogue
from pipeline.chat.tokenise import (
    ExampleTooLong,
    choice_ids,
    prompt_ids_many,
    stop_token_ids,
    tokenise_many,
)
from pipeline.errors import TrainingError
from pipeline.examples.cache import load_examples
from pipeline.functions.dialects import DIALECTS
from pipeline.models.loading import current_device, load_model, load_tokenizer, resolve_model
from pipeline.sources.data_root import resolve_data_root
from pipeline.templates.styles import render_conversation
from pipeline.training.merge_fit import (
    FitBatch,
    FitSettings,
    choose_uniform,
    fit_coefficients,
)
from pipeline.types import IGNORE_INDEX, Conversation, Json

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from pipeline.examples.stored import StoredExamples
    from pipeline.recipe.merging import FitFields, MergeRecipe

Progress = Callable[[str], None]


def fit_merge(
    recipe: MergeRecipe,
    experts: Sequence[Expert],
    *,
    annotation_folders: Sequence[Path] = (),
    data_root: str | None = None,
    progress: Progress = lambda _: None,
) -> Fitted:
    """Fit a recipe whose method needs the base and rows.

    The base is in memory once, and so are the adapters.

    Args:
        recipe: The recipe.
        experts: Its adapters.
        annotation_folders: Annotations beside the built-in ones.
        data_root: Local mirror, where the recipe names none.
        progress: Told what is being done.

    Raises:
        AnnotationError: A task is unknown.
        SourceError: Its rows cannot be read.
        AdapterError: It is not the base of the adapters (ADP022), or has no such modules (ADP023,
            ADP024).
        TrainingError: No row of a task fits (TRN040); else see `fit_coefficients`.
    """
    fit = recipe.fit
    assert fit is not None
    source = resolve_model(fit.model_name_or_path)
    check_base(experts, BaseFingerprint.of(source))
    model = load_model(source, device=current_device(), load_in_4bit=fit.load_in_4bit)
    init = 1 / len(experts) if fit.init is None else fit.init
    granularity = fit.granularity if recipe.method == "learned" else "task"
    mixer = Mixer(model, experts, granularity=granularity, init=init)
    rows = _Rows(model, load_tokenizer(source), fit, progress)
    catalogue = load_catalogue([builtin_folder(), *annotation_folders])
    root = resolve_data_root(fit.data_root or data_root)
    batches: dict[str, list[FitBatch]] = {}
    num_too_long: dict[str, int] = {}
    for each in recipe.adapters:
        if each.task is None or fit.target not in (None, each.name):
            continue
        progress(f"{each.name}: rows of {each.task}")
        examples = load_examples(
            catalogue.get(each.task),
            fit.split,
            data_root=root,
            max_rows=fit.num_prompts,
            seed=recipe.seed,
        )
        with mixer.only(each.name):
            found = batches[each.name] = rows.batches(examples)
        num_too_long[each.name] = len(examples) - sum(len(batch.labels) for batch in found)
        if not found:
            raise TrainingError(
                "TRN040",
                f"none of {len(examples)} rows fits, so there is nothing to fit a merge to",
                where=each.name,
                hint="Raise `fit.max_length`",
            )
    fitted = _METHODS[recipe.method](_Fit(model, mixer, batches, num_too_long, fit, progress))
    mixer.restore()
    return fitted


@dataclass(frozen=True, slots=True)
class _Fit:
    """Everything that a method fits with."""

    model: PreTrainedModel
    mixer: Mixer
    batches: Mapping[str, Sequence[FitBatch]]
    num_too_long: Mapping[str, int]
    """Rows of each that were left out."""
    fields: FitFields
    progress: Progress

    def record(self, **own: Json) -> dict[str, Json]:
        """Return what every method records, and its own."""
        fields = self.fields
        num_rows: dict[str, Json] = {
            name: sum(len(batch.labels) for batch in each) for name, each in self.batches.items()
        }
        return {
            "objective": fields.objective,
            "split": fields.split,
            "transductive": fields.split == "test",
            "num_rows": num_rows,
            "num_too_long": dict(self.num_too_long),
            **own,
        }


def _learn(fit: _Fit) -> Fitted:
    fields = fit.fields
    steps = iter(range(1, fields.num_steps + 1))
    report = fit_coefficients(
        fit.model,
        fit.mixer,
        fit.batches,
        FitSettings(
            objective=fields.objective,
            num_steps=fields.num_steps,
            learning_rate=fields.learning_rate,
        ),
        on_step=lambda loss: fit.progress(f"step {next(steps)} of {fields.num_steps}, {loss:.4f}"),
    )
    record = fit.record(
        granularity=fields.granularity,
        num_coefficients=fit.mixer.num_coefficients(),
        curve=list(report.curve),
        last_by_task=dict(report.by_task),
        stopped_by=report.stopped_by,
    )
    return Fitted(coefficients=fit.mixer.by_module(), record=record)


def _choose_uniform(fit: _Fit) -> Fitted:
    grid = fit.fields.grid
    weights = iter(grid)
    found = choose_uniform(
        fit.model,
        fit.mixer,
        fit.batches,
        fit.fields.objective,
        grid=grid,
        on_step=lambda loss: fit.progress(f"weight {next(weights)}, {loss:.4f}"),
    )
    tried: list[Json] = [
        {"weight": weight, "objective": dict(by_task)} for weight, by_task in found.items()
    ]
    return Fitted(coefficients=fit.mixer.by_module(), record=fit.record(grid=tried))


def _regmean(fit: _Fit) -> Fitted:
    regmean = RegMean(fit.mixer, off_diagonal=fit.fields.off_diagonal)
    for name, each in fit.batches.items():
        fit.progress(f"{name}: inputs of its layers")

        def forward(number: int, each: Sequence[FitBatch] = each) -> None:
            batch = each[number]
            fit.model(
                input_ids=batch.input_ids, attention_mask=batch.attention_mask, use_cache=False
            )

        regmean.add_task(name, [batch.attention_mask.bool() for batch in each], forward)
    factors = regmean.solve()
    return Fitted(factors=factors, record=fit.record(off_diagonal=fit.fields.off_diagonal))


_METHODS: Mapping[str, Callable[[_Fit], Fitted]] = {
    "learned": _learn,
    "best_uniform": _choose_uniform,
    "regmean": _regmean,
}


@dataclass(frozen=True, slots=True)
class _Rows:
    """Turns conversations into batches."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    fit: FitFields
    progress: Progress

    def batches(self, examples: StoredExamples) -> list[FitBatch]:
        dialect = DIALECTS.get(self.fit.function_format)
        conversations = [
            render_conversation(
                examples[index],
                examples.spec,
                style=self.fit.style,
                render_calls=None if dialect is None else dialect.render,
            )
            for index in range(len(examples))
        ]
        if self.fit.objective == "expert_kl":
            pairs = self._own_answers(conversations)
        else:
            tokenised = tokenise_many(
                conversations, self.tokenizer, task_index=0, max_length=self.fit.max_length
            )
            pairs = [
                (
                    row.input_ids.tolist(),
                    [
                        token if kept else IGNORE_INDEX
                        for token, kept in zip(row.input_ids.tolist(), row.loss_mask, strict=True)
                    ],
                )
                for row in tokenised
                if not isinstance(row, Exception)
            ]
        choices: list[torch.Tensor] = []
        if self.fit.objective == "entropy" and conversations:
            labels = examples.spec.labels or ()
            found = choice_ids(conversations[0], self.tokenizer, labels)
            choices = [torch.tensor(ids) for ids in found]
        size = self.fit.batch_size
        return [
            _padded(pairs[start : start + size], self.model.device, choices)
            for start in range(0, len(pairs), size)
        ]

    def _own_answers(
        self, conversations: Sequence[Conversation]
    ) -> list[tuple[list[int], list[int]]]:
        """Return prompts with the greedy answers of the model as it is now."""
        budget = max(self.fit.max_length - self.fit.max_new_tokens, 8)
        try:
            prompts = prompt_ids_many(conversations, self.tokenizer, budget)
        except ExampleTooLong:
            prompts = list(self._prompts_that_fit(conversations, budget))
        pairs = []
        size = self.fit.batch_size
        for start in range(0, len(prompts), size):
            self.progress(f"answers of the adapter, {start} of {len(prompts)}")
            pairs += self._answer(prompts[start : start + size])
        return pairs

    def _prompts_that_fit(
        self, conversations: Sequence[Conversation], budget: int
    ) -> Iterator[list[int]]:
        for conversation in conversations:
            with contextlib.suppress(ExampleTooLong):
                yield from prompt_ids_many([conversation], self.tokenizer, budget)

    def _answer(self, prompts: Sequence[list[int]]) -> list[tuple[list[int], list[int]]]:
        longest = max(map(len, prompts))
        stop_ids = stop_token_ids(self.tokenizer)
        pad = stop_ids[0]
        ids = torch.tensor([[pad] * (longest - len(each)) + each for each in prompts])
        mask = torch.tensor([[0] * (longest - len(each)) + [1] * len(each) for each in prompts])
        self.model.eval()
        with torch.no_grad():
            written = self.model.generate(
                input_ids=ids.to(self.model.device),
                attention_mask=mask.to(self.model.device),
                max_new_tokens=self.fit.max_new_tokens,
                do_sample=False,
                eos_token_id=stop_ids,
                pad_token_id=pad,
            )
        pairs = []
        for prompt, row in zip(prompts, written[:, longest:].tolist(), strict=True):
            end = next((place for place, token in enumerate(row) if token in stop_ids), len(row))
            answer = row[: end + 1]
            pairs.append(([*prompt, *answer], [IGNORE_INDEX] * len(prompt) + answer))
        return pairs


def _padded(
    pairs: Sequence[tuple[list[int], list[int]]],
    device: torch.device,
    choices: Sequence[torch.Tensor],
) -> FitBatch:
    longest = max(len(ids) for ids, _ in pairs)

    def stack(rows: Sequence[Sequence[int]], filler: int) -> torch.Tensor:
        padded = [[*row, *[filler] * (longest - len(row))] for row in rows]
        return torch.tensor(padded, device=device)

    return FitBatch(
        input_ids=stack([ids for ids, _ in pairs], 0),
        attention_mask=stack([[1] * len(ids) for ids, _ in pairs], 0),
        labels=stack([labels for _, labels in pairs], IGNORE_INDEX),
        choices=tuple(choice_L.to(device) for choice_L in choices),
    )
