"""Parts of an annotation that are fields of their own: caps, golden rows, and the guide."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

import pydantic
from pydantic import ConfigDict, Field

from pipeline.types import TaskGuide, WorkedExample
from pipeline.yaml_reader import Problem, problems_as_validation_error

Sentence = Annotated[str, Field(min_length=1, max_length=2000)]


class _Strict(pydantic.BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Cap(_Strict):
    """At most so many examples per split, chosen by a stable hash; applied last."""

    train: Annotated[int, Field(ge=1)] | None = None
    validation: Annotated[int, Field(ge=1)] | None = None
    test: Annotated[int, Field(ge=1)] | None = None
    seed: Annotated[int, Field(ge=0)] = 0


class Truncate(_Strict):
    """Which input loses text first when an example is too long, and on which side."""

    input: str
    side: Literal["left", "right", "both"] = "right"
    """`both` keeps the middle."""


class Golden(_Strict):
    """A source row of our own making, and what it must become."""

    row: dict[str, Any]
    example: dict[str, Any] | None = None
    """`{inputs, target}`, with `choices` where the row has its own."""
    examples: list[dict[str, Any]] | None = None
    """For rows that give several examples, or none."""
    skipped: bool = False
    """Whether the row gives no example."""
    views: dict[str, dict[str, Any] | list[dict[str, Any]] | None] = Field(default_factory=dict)
    """What the row becomes in other views than the first, null where it feeds them not."""
    explanation: Sentence | None = None
    """Why the example is right; a row with one is shown as a worked example by some styles."""
    files: dict[str, list[dict[str, Any]]] = Field(default_factory=dict)
    """Rows of the side files that `lookup` reads."""

    @pydantic.model_validator(mode="after")
    def _check(self) -> Self:
        given = [self.example is not None, self.examples is not None, self.skipped]
        if sum(given) != 1:
            message = "a golden row needs one of `example`, `examples` and `skipped: true`"
            raise problems_as_validation_error([Problem((), "ANN151", message)])
        if self.explanation is not None and not self.expected():
            message = "an explanation needs an example"
            raise problems_as_validation_error([Problem(("explanation",), "ANN151", message)])
        return self

    def expected(self) -> list[dict[str, Any]]:
        """Return the examples that the row must become."""
        return [self.example] if self.example is not None else self.examples or []

    def expected_in(self, view: str) -> list[dict[str, Any]]:
        """Return the examples that the row must become in a view named under `views`."""
        wanted = self.views[view]
        return wanted if isinstance(wanted, list) else [] if wanted is None else [wanted]


class Negative(_Strict):
    """A wrong answer to a golden row."""

    golden: Annotated[int, Field(ge=0)]
    """Position of the golden row, from 0; its first example is meant."""
    answer: Sentence
    """The wrong answer, as a model would write it."""
    explanation: Sentence


class Guide(_Strict):
    """What the longer styles tell besides the instruction and the explained golden rows."""

    definition: Annotated[str, Field(max_length=4000)] = ""
    avoid: tuple[Sentence, ...] = ()
    negative: tuple[Negative, ...] = ()

    @pydantic.field_validator("avoid", "negative", mode="before")
    @classmethod
    def _as_tuple(cls, value: object) -> object:
        return tuple(value) if isinstance(value, list) else value


def task_guide(guide: Guide | None, golden: tuple[Golden, ...]) -> TaskGuide | None:
    """Return the guide of a task, `None` where nothing is told."""
    shown = [row for row in golden if row.explanation is not None]
    if guide is None and not shown:
        return None
    guide = guide or Guide()
    return TaskGuide(
        definition=" ".join(guide.definition.split()),
        avoid=guide.avoid,
        examples=tuple(_worked(row, str(row.explanation)) for row in shown),
        negatives=tuple(
            _worked(golden[item.golden], item.explanation, wrong_answer=item.answer)
            for item in guide.negative
        ),
    )


def _worked(row: Golden, explanation: str, *, wrong_answer: str | None = None) -> WorkedExample:
    example = row.expected()[0]
    choices = example.get("choices")
    return WorkedExample(
        inputs=example.get("inputs", {}),
        target=example.get("target"),
        choices=tuple(choices) if choices else None,
        explanation=explanation,
        wrong_answer=wrong_answer,
    )
