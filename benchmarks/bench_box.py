"""Wording 100,000 examples of the 32 BoX tasks, against a compiled Jinja template."""

from __future__ import annotations

import itertools
import time
from dataclasses import replace

from benchmarks.paired import Fact, compare, report

NUM_EXAMPLES = 100_000
NUM_COMPARED = 20_000
NUM_WORDS = 150
"""Words that each text gets, as in an abstract."""
AT_MOST = 20.0
"""Seconds on two cores; measured on one."""
STYLES = ("box", "natural_instructions", "plain", "no_instruction")
TEMPLATE = (
    "Instruction: Definition: {{ definition }}{% if examples %}, Positive Examples: ["
    "{% for e in examples %}[input: {{ e.input }}, output: {{ e.output }}, "
    "explanation: {{ e.explanation }}]{% if not loop.last %}, {% endif %}{% endfor %}"
    "]{% endif %}; Instance: input:\n"
    "{% for name, value in inputs.items() %}"
    "{{ name.replace('_', ' ')[:1].upper() + name.replace('_', ' ')[1:] }}: {{ value }}\n"
    "{% endfor %}{% if options %}Options: {{ options | join(', ') }}{% endif %}"
)


def build_examples(count: int):
    """Return golden rows of the tasks in turn, with texts as long as those of abstracts."""
    from pipeline.annotations.catalogue import load_catalogue
    from pipeline.examples.golden import golden_examples

    filler = " ".join(["signal"] * NUM_WORDS)
    rows = []
    for task in (task for task in load_catalogue() if task.id.startswith("box/")):
        spec = task.spec()
        for row in golden_examples(task):
            inputs = {
                name: f"{value} {filler}" if name in {"text", "context"} else value
                for name, value in row.inputs.items()
            }
            if "tokens" in inputs and spec.settings.get("scheme") != "plain":
                inputs["tokens"] = [*inputs["tokens"], *filler.split()]
            rows.append((replace(row, inputs=inputs), spec))
    return list(itertools.islice(itertools.cycle(rows), count))


def word(examples, style: str) -> list[str]:
    from pipeline.templates.styles import render_conversation

    return [
        render_conversation(row, spec, style=style).messages[0].content for row, spec in examples
    ]


def jinja_texts(rows) -> list[str]:
    from jinja2.sandbox import SandboxedEnvironment

    template = SandboxedEnvironment(autoescape=False).from_string(TEMPLATE)
    return [template.render(**row) for row in rows]


def jinja_rows(examples):
    """Return what the template reads: worked examples are text already, which ours are not."""
    from pipeline.templates.styles import MAX_LISTED_OPTIONS, shown_guide

    rows = []
    for row, spec in examples:
        guide = shown_guide(spec, None)
        options = row.choices
        if spec.kind == "token_classification":
            options = spec.labels if spec.labels and len(spec.labels) > 1 else None
        short = options is not None and len(options) <= MAX_LISTED_OPTIONS
        rows.append(
            {
                "definition": guide.definition,
                "examples": guide.examples,
                "inputs": {
                    "text" if name == "tokens" else name: (
                        " ".join(value) if isinstance(value, list) else value
                    )
                    for name, value in row.inputs.items()
                },
                "options": options if short else None,
            }
        )
    return rows


def main() -> None:
    """Measure, print and write `results/box.json`."""
    examples = build_examples(NUM_EXAMPLES)
    facts = []
    for style in STYLES:
        started = time.process_time()
        word(examples, style)
        seconds = time.process_time() - started
        name = f"100,000 examples worded as {style}, processor time of one core"
        facts.append(Fact(name=name, value=seconds, unit="s", at_most=AT_MOST))
    some = examples[:NUM_COMPARED]
    rows = jinja_rows(some)
    same = [
        a.strip() == b.strip() for a, b in zip(word(some, "box"), jinja_texts(rows), strict=True)
    ]
    if not all(same):
        raise SystemExit(f"{same.count(False)} of {len(same)} texts differ from the peer's")
    compared = compare(
        "words of box",
        lambda: word(some, "box"),
        lambda: jinja_texts(rows),
        peer="a compiled Jinja template",
        unit="examples",
        num_items=len(some),
    )
    report([compared], file="box.json", facts=facts)
