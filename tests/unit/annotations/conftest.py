import pytest

from pipeline.annotations.parsing import parse_condition, parse_expression
from pipeline.annotations.schema import annotation_from
from pipeline.errors import PipelineError
from pipeline.yaml_reader import read_yaml

CLASSIFICATION = """\
schema_version: 1
id: mood
task: classification
source: {hub: owner/mood, licence: mit, commercial: "yes", language: en}
splits: {train: train, validation: null, test: test}
fields: {text: sentence, target: label}
labels: [sad, happy]
instruction: Name the mood.
"""


@pytest.fixture
def base_text():
    """A small valid annotation."""
    return CLASSIFICATION


@pytest.fixture
def annotate():
    """Build an annotation from the base text with some lines replaced or added."""

    def build(text=CLASSIFICATION, **lines):
        kept = []
        for line in text.splitlines():
            key = line.split(":")[0]
            kept.append(f"{key}: {lines.pop(key)}" if key in lines else line)
        kept += [f"{key}: {value}" for key, value in lines.items()]
        kept = [line for line in kept if not line.endswith(": ABSENT")]
        return annotation_from(read_yaml("\n".join(kept) + "\n", name="f.yaml"), family="fam")

    return build


@pytest.fixture
def refusals(annotate):
    """Return the messages with which an annotation is refused."""

    def collect(text=CLASSIFICATION, **lines):
        with pytest.raises(PipelineError) as caught:
            annotate(text, **lines)
        return [str(error) for error in getattr(caught.value, "errors", (caught.value,))]

    return collect


@pytest.fixture
def expression():
    """Parse an expression from YAML text, which must be valid."""

    def parse(text):
        problems = []
        parsed = parse_expression(read_yaml(f"x: {text}").value["x"], (), problems)
        assert problems == []
        return parsed

    return parse


@pytest.fixture
def condition():
    """Parse a condition from YAML text, which must be valid."""

    def parse(text):
        problems = []
        parsed = parse_condition(read_yaml(f"x: {text}").value["x"], (), problems)
        assert problems == []
        return parsed

    return parse
