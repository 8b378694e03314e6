"""Small forms of the soak tests; `make soak` runs the full ones."""

from __future__ import annotations

import pytest

from tests.soak import damage, damage_elsewhere, kills, resume, stops


def test_a_run_stopped_after_any_step_goes_on_as_if_it_had_not_been(tmp_path):
    outcome = resume.run(tmp_path, num_steps=5, stops=[1, 4])
    assert (outcome.cases, outcome.failures) == (8, [])


def test_damage_is_told_before_a_checkpoint_is_used(tmp_path):
    outcome = damage.run_flips(tmp_path, flips=60, cuts=25)
    assert (outcome.cases, outcome.failures) == (85, [])


def test_damage_is_told_before_an_adapter_is_used(tmp_path, monkeypatch):
    monkeypatch.setenv("TASKLOOM_CACHE", str(tmp_path / "cache"))
    outcome = damage_elsewhere.run_adapters(tmp_path, flips=60, cuts=25)
    assert (outcome.cases, outcome.failures) == (85, [])


def test_damaged_caches_are_made_anew(tmp_path, monkeypatch):
    monkeypatch.setenv("TASKLOOM_CACHE", str(tmp_path / "cache"))
    outcome = damage_elsewhere.run_caches(tmp_path, flips=24, cuts=8)
    assert (outcome.cases, outcome.failures) == (32, [])


def test_a_full_disk_leaves_the_previous_checkpoint_and_no_leftovers(tmp_path):
    outcome = damage.run_full_disk(tmp_path, cases=6)
    assert (outcome.cases, outcome.failures) == (6, [])


@pytest.mark.slow
@pytest.mark.parametrize("num_processes", [1, 2])
def test_a_kill_during_a_save_loses_nothing_that_was_saved(tmp_path, num_processes):
    outcome = kills.run(tmp_path, cases=3, num_processes=num_processes)
    assert (outcome.cases, outcome.failures) == (3, [])


@pytest.mark.slow
def test_a_killed_loader_is_told_and_the_run_goes_on_as_it_would_have(tmp_path):
    outcome = kills.run(tmp_path, cases=2, num_loaders=2)
    assert (outcome.cases, outcome.failures) == (2, [])
    assert outcome.worst["seconds_to_end"] < 5


@pytest.mark.slow
def test_a_signal_at_any_time_loses_no_step(tmp_path, monkeypatch):
    monkeypatch.setenv("TASKLOOM_CACHE", str(tmp_path / "cache"))
    outcome = stops.run(tmp_path, cases=2)
    assert (outcome.cases, outcome.failures) == (2, [])
