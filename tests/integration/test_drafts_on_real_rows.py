"""`taskloom new` on every dataset of the local mirror: drafts that pass the check and run."""

from __future__ import annotations

import functools
import os
from pathlib import Path

import pytest

from pipeline.annotations.catalogue import Catalogue, load_catalogue
from pipeline.annotations.check import check_files
from pipeline.examples.drafting import draft_annotation
from pipeline.examples.drafting.survey import survey_hub
from pipeline.examples.registered import REGISTERED_FUNCTIONS
from pipeline.sources.data_root import dataset_folder
from pipeline.sources.folder import FolderPlace
from pipeline.sources.layout import list_splits

ROOT = Path(__file__).resolve().parents[2]
MIRROR = Path(os.environ.get("TASKLOOM_DATA_ROOT") or ROOT.parent / "shared" / "data")
MAX_CONFIGS = 4
"""Configs of one dataset that are tried; those of a family look alike."""
NOT_DRAFTED = {
    # A benchmark in a layout of its own, and a manual without any task.
    ("gorilla-llm/Berkeley-Function-Calling-Leaderboard", None),
    ("abhi1nandy2/emanual_qa", "sections_smart_tv_remote"),
}
OTHER_KIND = {("bigbio/biosses", "biosses_source")}
"""One column per annotator: nothing tells that their mean is the target."""
CALLS_IN_THEIR_OWN_FORM = {
    ("Yifan-Song793/RestBench", "spotify"),
    ("Yifan-Song793/RestBench", "tmdb"),
    ("MadeAgents/Hammer", "masking_sft_data_example"),
    ("OpenBMB/ToolBench", "G1_query"),
    ("OpenBMB/ToolBench", "G2_query"),
    ("OpenBMB/ToolBench", "G3_query"),
    ("OpenBMB/ToolBench", "answers"),
    ("glaiveai/glaive-function-calling-v2", None),
    ("google-research-datasets/Hinglish-TOP-Dataset", None),
    ("google-research-datasets/schema_guided_dstc8", None),
    ("gorilla-llm/APIBench", "torchhub"),
    ("llamafactory/glaive_toolcall_en", None),
    ("llamafactory/glaive_toolcall_zh", None),
    ("qiancheng0/ToolRL", "rlla_sft"),
    ("tangqiaoyu/ToolAlpaca", None),
}
"""Calls written inside texts or dialogues, which only a reader can tell from other answers."""
BESIDE = {"spec", "schema", "possible_answer", "multi_turn_func_doc"}
"""Folders of side files, which are no configs."""

pytestmark = [
    pytest.mark.real_data,
    pytest.mark.skipif(not MIRROR.is_dir(), reason=f"no mirror of public data at {MIRROR}"),
]


def datasets() -> list[tuple[str, str | None]]:
    found: list[tuple[str, str | None]] = []
    for folder in sorted(MIRROR.glob("*/*")) if MIRROR.is_dir() else []:
        if folder.is_dir():
            place = FolderPlace(folder)
            configs = [c for c in list_splits(place.listing(), place.card()) if c not in BESIDE]
            named = [config for config in configs if config] if len(configs) > 1 else configs
            name = folder.relative_to(MIRROR).as_posix()
            found += [(name, config) for config in named[:MAX_CONFIGS]]
    return found


@functools.cache
def catalogue() -> Catalogue:
    return load_catalogue()


def kinds_shipped(dataset: str, config: str | None) -> set[str]:
    """Return the kinds that the built-in annotations of a dataset have."""
    return {
        task.task
        for task in catalogue()
        if task.source.hub == dataset and (task.config == config or config in (None, "default"))
    }


@pytest.mark.parametrize(("dataset", "config"), datasets(), ids=str)
def test_a_draft_passes_the_check_and_runs(dataset, config, tmp_path, monkeypatch):
    monkeypatch.setenv("TASKLOOM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    if (dataset, config) in NOT_DRAFTED:
        pytest.skip("refused with a reason")
    assert dataset_folder(MIRROR, dataset)
    out = tmp_path / "draft.yaml"
    draft = draft_annotation(survey_hub(dataset, config, MIRROR), out, data_root=MIRROR)
    out.write_text(draft.text, encoding="utf-8")
    assert check_files([out], functions=REGISTERED_FUNCTIONS) == []
    assert draft.error is None
    assert draft.annotation.verified == "rows"
    assert draft.annotation.golden
    assert sum(report.num_available for report in draft.reports) > 0
    shipped = kinds_shipped(dataset, config)
    if (dataset, config) not in OTHER_KIND | CALLS_IN_THEIR_OWN_FORM:
        assert not shipped or draft.guess.kind in shipped
