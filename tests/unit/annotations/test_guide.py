import re

import pytest

from pipeline.annotations.catalogue import builtin_folder
from pipeline.annotations.check import check_golden, golden_values
from pipeline.annotations.cleaning import STEPS
from pipeline.annotations.expressions import FUNCTION_NAMES
from pipeline.annotations.parsing import FORMS
from pipeline.annotations.row_operations import OPERATIONS
from pipeline.annotations.schema import ConfigOverride, DatasetAnnotation, annotation_from
from pipeline.annotations.source import Source
from pipeline.annotations.task_kinds import TASK_KINDS
from pipeline.yaml_reader import read_yaml

GUIDE = (builtin_folder().parent / "docs" / "annotations.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(yaml[^\n]*)\n(.*?)```", GUIDE, re.DOTALL)


@pytest.mark.parametrize("text", [text for kind, text in BLOCKS if kind == "yaml"])
def test_each_example_of_the_guide_is_a_valid_annotation(text):
    assert check_golden(annotation_from(read_yaml(text)), golden_values) == []


@pytest.mark.parametrize("text", [text for kind, text in BLOCKS if kind == "yaml fragment"])
def test_each_fragment_of_the_guide_fits_into_an_annotation(text):
    start = "schema_version: 1\nid: x\ntask: text\ninstruction: Do.\n"
    whole = f"{start}fields: {{a: b, target: c}}\n{text}"
    assert annotation_from(read_yaml(whole)).id == "x"


@pytest.mark.parametrize(
    "name",
    [
        *FORMS,
        *OPERATIONS,
        *STEPS,
        *TASK_KINDS,
        *FUNCTION_NAMES,
        *DatasetAnnotation.model_fields,
        *Source.model_fields,
        *ConfigOverride.model_fields,
        *(setting for rules in TASK_KINDS.values() for setting in rules.settings),
        *(name for rules in TASK_KINDS.values() for name in rules.required_inputs),
        *(name for rules in TASK_KINDS.values() for name in rules.optional_inputs),
    ],
)
def test_the_guide_names_everything_an_annotation_may_say(name):
    assert re.search(rf"\b{name}\b", GUIDE)
