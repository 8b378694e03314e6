"""Layouts of long instructions: a definition, worked examples, and then the example itself.

`box` follows the one composed input that Parmar et al. publish for In-BoXBART (arXiv:2204.07600);
`natural_instructions` has the parts of Wang et al., "Super-NaturalInstructions"
(arXiv:2204.07705): prompt, things to avoid, and wrong answers too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ShownExample:
    """A worked example as text."""

    input: str
    output: str
    explanation: str


@dataclass(frozen=True, slots=True)
class ShownGuide:
    """What a layout may show."""

    definition: str
    avoid: Sequence[str]
    examples: Sequence[ShownExample]
    negatives: Sequence[ShownExample]


Layout = Callable[[ShownGuide, str], str]
"""(guide, instruction) -> text before the example, which ends with a line break."""


def _box(guide: ShownGuide, _instruction: str) -> str:
    listed = ", ".join(
        f"[input: {shown.input}, output: {shown.output}, explanation: {shown.explanation}]"
        for shown in guide.examples
    )
    examples = f", Positive Examples: [{listed}]" if listed else ""
    return f"Instruction: Definition: {guide.definition}{examples}; Instance: input:\n"


def _natural_instructions(guide: ShownGuide, instruction: str) -> str:
    parts = [f"Definition: {guide.definition}"]
    if instruction and instruction != guide.definition:
        parts.append(f"Prompt: {instruction}")
    if guide.avoid:
        parts.append("Avoid: " + " ".join(guide.avoid))
    for name, shown in (("Right", guide.examples), ("Wrong", guide.negatives)):
        parts += [_block(f"{name} answer {i}", item) for i, item in enumerate(shown, start=1)]
    return "\n\n".join([*parts, "Now answer this one."]) + "\n"


def _block(title: str, shown: ShownExample) -> str:
    lines = (title, shown.input, f"Answer: {shown.output}", f"Reason: {shown.explanation}")
    return "\n".join(lines)


GUIDED_STYLES: dict[str, Layout] = {
    "box": _box,
    "natural_instructions": _natural_instructions,
}
"""Every layout by the name of its style."""
