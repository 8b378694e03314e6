"""From a merge recipe with `fit` to learned coefficients: model, rows, answers, fitting."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from pipeline.adapters.merging.factors import Expert
from pipeline.adapters.merging.merge import Coefficients
from pipeline.adapters.merging.mixer import Mixer
from pipeline.annotations import builtin_folder, load_catalogue
from pipeline.chat.tokenise import (
    choice_ids,
    prompt_ids_many,
    stop_token_ids,
    tokenise_many,
)
from pipeline.examples.cache import load_examples
from pipeline.functions.dialects import DIALECTS
from pipeline.models.loading import current_device, load_model, load_tokenizer, resolve_model
from pipeline.sources.data_root import resolve_data_root
from pipeline.templates.styles import render_conversation
from pipeline.training.merge_fit import FitBatch, FitReport, FitSettings, fit_coefficients
from pipeline.types import IGNORE_INDEX, Conversation, Json

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from pipeline.examples.stored import StoredExamples
    from pipeline.recipe.merging import FitFields, MergeRecipe

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class LearnedCoefficients:
    """Coefficients, and how they came about."""

    coefficients: Coefficients
    record: Json
    """Objective by step and task, number of rows and of coefficients; for `merge.json`."""


def learn_coefficients(
    recipe: MergeRecipe,
    experts: Sequence[Expert],
    *,
    annotation_folders: Sequence[Path] = (),
    data_root: str | None = None,
    progress: Progress = lambda _: None,
) -> LearnedCoefficients:
    """Fit the coefficients of a recipe whose method is `learned`.

    Args:
        recipe: The recipe.
        experts: Its adapters.
        annotation_folders: Annotations beside the built-in ones.
        data_root: Local mirror, where the recipe names none.
        progress: Told what is being done.

    Raises:
        AnnotationError: A task is unknown.
        SourceError: Its rows cannot be read.
        AdapterError: The base has no such modules.
        TrainingError: See `fit_coefficients`.
    """
    fit = recipe.fit
    assert fit is not None
    source = resolve_model(fit.model_name_or_path)
    model = load_model(source, device=current_device())
    init = 1 / len(experts) if fit.init is None else fit.init
    mixer = Mixer(model, experts, granularity=fit.granularity, init=init)
    rows = _Rows(model, load_tokenizer(source), fit, progress)
    catalogue = load_catalogue([builtin_folder(), *annotation_folders])
    root = resolve_data_root(fit.data_root or data_root)
    batches = {}
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
            batches[each.name] = rows.batches(examples)
    settings = FitSettings(
        objective=fit.objective, num_steps=fit.num_steps, learning_rate=fit.learning_rate
    )
    steps = iter(range(1, fit.num_steps + 1))
    report = fit_coefficients(
        model,
        mixer,
        batches,
        settings,
        on_step=lambda loss: progress(f"step {next(steps)} of {fit.num_steps}, {loss:.4f}"),
    )
    num_rows = {name: sum(len(b.labels) for b in each) for name, each in batches.items()}
    learned = LearnedCoefficients(
        coefficients=mixer.by_module(),
        record=_record(fit, report, num_coefficients=mixer.num_coefficients(), num_rows=num_rows),
    )
    mixer.restore()
    return learned


def _record(
    fit: FitFields, report: FitReport, *, num_coefficients: int, num_rows: Mapping[str, int]
) -> Json:
    return {
        "objective": fit.objective,
        "granularity": fit.granularity,
        "split": fit.split,
        "transductive": fit.split == "test",
        "num_coefficients": num_coefficients,
        "num_rows": dict(num_rows),
        "curve": list(report.curve),
        "last_by_task": dict(report.by_task),
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
        first_ids = None
        if self.fit.objective == "entropy" and conversations:
            labels = examples.spec.labels or ()
            first_ids = _first_ids(conversations[0], self.tokenizer, labels)
        size = self.fit.batch_size
        return [
            _padded(pairs[start : start + size], self.model.device, first_ids)
            for start in range(0, len(pairs), size)
        ]

    def _own_answers(
        self, conversations: Sequence[Conversation]
    ) -> list[tuple[list[int], list[int]]]:
        """Return prompts with the greedy answers of the model as it is now."""
        budget = max(self.fit.max_length - self.fit.max_new_tokens, 8)
        prompts = prompt_ids_many(conversations, self.tokenizer, budget)
        pairs = []
        size = self.fit.batch_size
        for start in range(0, len(prompts), size):
            self.progress(f"answers of the adapter, {start} of {len(prompts)}")
            pairs += self._answer(prompts[start : start + size])
        return pairs

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


def _first_ids(
    conversation: Conversation, tokenizer: PreTrainedTokenizerBase, choices: Sequence[str]
) -> torch.Tensor | None:
    """Return the first token of each choice, or `None` where two begin alike."""
    firsts = [ids[0] for ids in choice_ids(conversation, tokenizer, choices)]
    return torch.tensor(firsts) if len(set(firsts)) == len(firsts) > 1 else None


def _padded(
    pairs: Sequence[tuple[list[int], list[int]]],
    device: torch.device,
    choice_ids_K: torch.Tensor | None,
) -> FitBatch:
    longest = max(len(ids) for ids, _ in pairs)

    def stack(rows: Sequence[Sequence[int]], filler: int) -> torch.Tensor:
        padded = [[*row, *[filler] * (longest - len(row))] for row in rows]
        return torch.tensor(padded, device=device)

    return FitBatch(
        input_ids=stack([ids for ids, _ in pairs], 0),
        attention_mask=stack([[1] * len(ids) for ids, _ in pairs], 0),
        labels=stack([labels for _, labels in pairs], IGNORE_INDEX),
        choice_ids=None if choice_ids_K is None else choice_ids_K.to(device),
    )
