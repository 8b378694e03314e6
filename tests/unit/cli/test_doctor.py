from __future__ import annotations

import json

from typer.testing import CliRunner

from pipeline.cli.doctor import CORE_PACKAGES, examine
from pipeline.cli.main import app
from pipeline.cli.shared import Settings

runner = CliRunner()


def by_subject(settings: Settings) -> dict:
    return {finding.subject: finding for finding in examine(settings)}


def test_versions_devices_disk_and_data_are_reported(monkeypatch, tmp_path):
    monkeypatch.setenv("TASKLOOM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    found = by_subject(Settings(data_root=str(tmp_path)))
    for package in CORE_PACKAGES:
        assert found[package].state == "ok"
    assert "cores" in found["CPU"].detail
    assert "gloo" in found["DDP"].detail
    assert "GiB free" in found["cache"].detail
    assert found["data root"].detail == str(tmp_path)
    assert found["hub"].state == "absent"


def test_an_absent_data_root_is_a_problem_with_advice_and_exit_2(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    missing = str(tmp_path / "nowhere")
    result = runner.invoke(app, ["--data-root", missing, "doctor", "--json"])
    assert result.exit_code == 2
    findings = {finding["subject"]: finding for finding in json.loads(result.output)}
    assert findings["data root"]["state"] == "problem"
    assert "nowhere" in findings["data root"]["detail"]


def test_a_cache_that_cannot_be_written_is_a_problem(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("TASKLOOM_CACHE", str(tmp_path))
    monkeypatch.setattr("os.access", lambda path, mode: False)  # root may write anywhere
    found = by_subject(Settings(data_root="embedded"))
    assert found["cache"].state == "problem"
    assert "TASKLOOM_CACHE" in found["cache"].advice
    assert found["data root"].detail == "embedded (generated data)"
