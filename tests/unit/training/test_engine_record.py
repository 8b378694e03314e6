"""A checkpoint is gone on from under the engine that made it."""

from __future__ import annotations

import itertools

import pytest

from pipeline.errors import CheckpointError
from pipeline.training.engine_record import EngineRecord

ENGINES = {
    "DDP or one process": EngineRecord(None, zero_stage=None, num_processes=2),
    "FSDP in 2 processes": EngineRecord("FSDP", zero_stage=None, num_processes=2),
    "FSDP in 4 processes": EngineRecord("FSDP", zero_stage=None, num_processes=4),
    "ZeRO-2 in 2 processes": EngineRecord("DEEPSPEED", zero_stage=2, num_processes=2),
    "ZeRO-2 in 4 processes": EngineRecord("DEEPSPEED", zero_stage=2, num_processes=4),
    "ZeRO-3 in 2 processes": EngineRecord("DEEPSPEED", zero_stage=3, num_processes=2),
}


@pytest.mark.parametrize(("earlier", "now"), itertools.permutations(ENGINES, 2))
def test_another_engine_is_refused_and_both_are_named(earlier, now):
    with pytest.raises(CheckpointError) as caught:
        ENGINES[now].load_state(ENGINES[earlier].state(4))
    assert str(caught.value) == (
        f"accelerate configuration: the checkpoint was made under {earlier}, this run has {now}. "
        "Go on under the engine of the checkpoint, or start a new run under another run_name. "
        "[CKP004]"
    )


def test_the_number_of_processes_may_change_where_each_has_the_whole_states():
    one, many = (EngineRecord(None, zero_stage=None, num_processes=count) for count in (1, 8))
    one.load_state(many.state(4))
    many.load_state(one.state(4))
