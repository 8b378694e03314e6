"""What a recipe adds to a tokenizer: units of DNA, one token per task, one per label.

    <task:gue/emp_H3>   the last token of every prompt of that task, before the answer begins
    <label:yes>         an answer that is this label and nothing else, as one token

Both are read off the tokenizer's own tokens wherever prompts are made, and cannot come out of data.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast, get_args

from tokenizers import AddedToken

from pipeline.chat.dna import (
    MERGES_SETTING,
    UNIT_SETTING,
    DnaReading,
    DnaUnit,
    missing_tokens,
)
from pipeline.chat.dna_bpe import Merge
from pipeline.files import read_json
from pipeline.types import Json

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

UNITS = (*get_args(DnaUnit), "letters")
SETTINGS_FILE = "tokenizer_config.json"
"""In the folder of a saved tokenizer; holds the settings below too."""
_TASKS, _LABELS = "task_tokens", "label_tokens"
"""Settings of a tokenizer: names of the tasks and labels that have a token."""


def task_token(task: str) -> str:
    """Return the token of a task."""
    return f"<task:{task}>"


def label_token(label: str) -> str:
    """Return the token of a label."""
    return f"<label:{label}>"


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenExtension:
    """Tokens to add; the same ones on the same base get the same ids anywhere."""

    dna_unit: DnaReading | None = None
    """How DNA is read; `None` leaves it to the tokenizer."""
    dna_merges: tuple[Merge, ...] = ()
    """Of the unit `bpe`."""
    tasks: tuple[str, ...] = ()
    """Tasks that get a token, in the order of their ids."""
    labels: tuple[str, ...] = ()
    """Labels that get a token, likewise."""

    def add_to(self, tokenizer: PreTrainedTokenizerBase) -> list[int]:
        """Give a tokenizer the tokens; those that it has keep their ids.

        Args:
            tokenizer: Changed in place; remembers the extension when it is saved.

        Returns:
            Ids of the tokens that were added.
        """
        wanted = [*map(task_token, self.tasks), *map(label_token, self.labels)]
        known = {token.content for token in tokenizer.added_tokens_decoder.values()}
        added = [token for token in wanted if token not in known]
        if self.dna_unit is not None:
            added = [*missing_tokens(tokenizer, self.dna_unit, self.dna_merges), *added]
            tokenizer.init_kwargs[UNIT_SETTING] = self.dna_unit
        if self.dna_merges:
            tokenizer.init_kwargs[MERGES_SETTING] = [list(merge) for merge in self.dna_merges]
        tokenizer.add_tokens([AddedToken(token, normalized=False) for token in added])
        for setting, names in ((_TASKS, self.tasks), (_LABELS, self.labels)):
            if names:
                tokenizer.init_kwargs[setting] = list(names)
        return [cast("int", tokenizer.convert_tokens_to_ids(token)) for token in added]

    @classmethod
    def read(cls, folder: Path) -> TokenExtension:
        """Return the extension of a saved tokenizer; an empty one where nothing was added."""
        try:
            settings = read_json(folder / SETTINGS_FILE)
        except (OSError, ValueError):
            return cls()
        return cls._of_settings(settings) if isinstance(settings, dict) else cls()

    @classmethod
    def of(cls, tokenizer: PreTrainedTokenizerBase) -> TokenExtension:
        """Return the extension of a loaded tokenizer, as `read` would once it is saved."""
        return cls._of_settings(tokenizer.init_kwargs)

    @classmethod
    def _of_settings(cls, settings: Mapping[str, Json]) -> TokenExtension:
        unit = settings.get(UNIT_SETTING)
        merges = cast("list[tuple[str, str]]", settings.get(MERGES_SETTING) or [])
        return cls(
            dna_unit=cast("DnaReading", unit) if unit in UNITS else None,
            dna_merges=tuple((left, right) for left, right in merges),
            tasks=tuple(map(str, cast("list[str]", settings.get(_TASKS) or ()))),
            labels=tuple(map(str, cast("list[str]", settings.get(_LABELS) or ()))),
        )


def plain_labels(text: str, tokenizer: PreTrainedTokenizerBase) -> str:
    """Return written text with the tokens of labels as the words that they stand for."""
    for label in cast("list[str]", tokenizer.init_kwargs.get(_LABELS) or ()):
        text = text.replace(label_token(label), label)
    return text
