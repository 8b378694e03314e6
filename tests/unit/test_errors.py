from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from pipeline.errors import (
    AnnotationError,
    ModelError,
    PipelineErrors,
    RecipeError,
    SourceMark,
    did_you_mean,
    nearest_names,
    raise_all,
)


def test_an_error_is_one_line_with_place_hint_and_code():
    error = AnnotationError(
        "ANN104",
        "no column 'labels' in glue, train",
        where=SourceMark("a/rte.yaml", 14, 11),
        hint="Did you mean 'label'?",
    )
    assert str(error) == (
        "a/rte.yaml:14:11: no column 'labels' in glue, train. Did you mean 'label'? [ANN104]"
    )


def test_line_breaks_in_a_message_do_not_break_the_line():
    error = RecipeError("REC001", "got\nthis", where=Path("r.yaml"))
    assert str(error) == "r.yaml: got this. [REC001]"


def test_many_errors_are_raised_together():
    errors = [RecipeError("REC001", "one"), RecipeError("REC002", "two")]
    with pytest.raises(PipelineErrors) as caught:
        raise_all(errors)
    assert str(caught.value).splitlines() == ["one. [REC001]", "two. [REC002]"]


def test_a_single_error_is_raised_as_it_is():
    with pytest.raises(RecipeError):
        raise_all([RecipeError("REC001", "one")])


def test_no_error_raises_nothing():
    raise_all([])


@pytest.mark.parametrize(
    ("name", "first"),
    [
        ("lora_rank", "lora_r"),
        ("LEARNING_RATE", "learning_rate"),
        ("leaning_rate", "learning_rate"),
    ],
)
def test_the_nearest_name_comes_first(name, first):
    allowed = ["lora_r", "learning_rate", "max_length", "packing"]
    assert nearest_names(name, allowed)[0] == first


def test_without_a_near_name_the_allowed_ones_are_listed():
    assert did_you_mean("zzzz", ["b", "a"]) == "Allowed: a, b"


def test_errors_reach_another_process_whole():
    one = ModelError("MOD001", "no such folder", where=Path("here"), hint="Look there")
    assert str(pickle.loads(pickle.dumps(one))) == str(one)
    assert type(pickle.loads(pickle.dumps(one))) is ModelError
    both = PipelineErrors([one, ModelError("MOD002", "an adapter")])
    assert str(pickle.loads(pickle.dumps(both))) == str(both)
