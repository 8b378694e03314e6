"""The embedded data: a local mirror of generated rows under the names of public datasets.

`--data-root` on this folder runs the shipped annotations unchanged. Layout and columns are those
of the hub (`owner/name/[config/]split.jsonl` beside a README.md card); all content is invented.
Test and validation rows use names, functions and sequences that no training row shows. Sentence
forms are shared by all splits.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from pipeline.files import cache_root, is_complete_folder, staged_folder
from pipeline.sources.generated import dna, entities, functions, intents, questions
from pipeline.sources.generated.cards import ConfigCard, Feature, render_card
from pipeline.sources.generated.names import Side
from pipeline.types import Json

Row = dict[str, Json]
RowMaker = Callable[[Side, int, random.Random], list[Row]]

MIRROR_VERSION = "3"
"""Raise whenever generated rows change: the cached mirror is named by it."""

BFCL = "gorilla-llm/Berkeley-Function-Calling-Leaderboard"
BFCL_FILE = "BFCL_v4_simple_python.json"
NUM_BFCL_ROWS = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneratedConfig:
    """One config of one dataset, and how its rows are made."""

    dataset: str
    make: RowMaker
    features: Mapping[str, Feature | list[Feature]]
    config: str = "default"
    splits: Mapping[str, tuple[Side, int]] = field(
        default_factory=lambda: {
            "train": ("train", 1400),
            "validation": ("validation", 150),
            "test": ("test", 300),
        }
    )
    """File stem -> side of the names and number of rows."""
    note: str = ""

    @property
    def folder(self) -> str:
        """Folder of the split files inside the dataset's folder, empty for `default`."""
        return "" if self.config == "default" else f"{self.config}/"


def _sequences(
    make: dna.SequenceMaker, *, num_classes: int = 2, column: str = "sequence"
) -> RowMaker:
    def rows(side: Side, num_rows: int, generator: random.Random) -> list[Row]:
        del side  # random sequences never repeat
        return dna.sequence_rows(make, num_rows, generator, num_classes=num_classes, column=column)

    return rows


def _pictures(side: Side, num_rows: int, generator: random.Random) -> list[Row]:
    del side
    return dna.picture_rows(num_rows, generator)


_GUE = partial(
    GeneratedConfig,
    dataset="leannmlindsey/GUE",
    features={"sequence": "string", "label": "int64"},
    splits={"train": ("train", 1400), "dev": ("validation", 150), "test": ("test", 300)},
    note="Sequences of 60 bases.",
)

CONFIGS: tuple[GeneratedConfig, ...] = (
    GeneratedConfig(
        dataset="ncbi/ncbi_disease",
        make=entities.disease_rows,
        features={
            "id": "string",
            "tokens": ["string"],
            "ner_tags": [("O", "B-Disease", "I-Disease")],
        },
    ),
    GeneratedConfig(
        dataset="tner/bc5cdr",
        make=entities.chemical_disease_rows,
        features={"tokens": ["string"], "tags": ["int32"]},
        note="Tags: O=0, B-Chemical=1, B-Disease=2, I-Disease=3, I-Chemical=4.",
    ),
    GeneratedConfig(dataset="zapsdcn/chemprot", make=entities.relation_rows, features={}),
    GeneratedConfig(
        dataset="qiaojin/PubMedQA",
        config="pqa_labeled",
        make=questions.paper_rows,
        features={
            "pubid": "int32",
            "question": "string",
            "context": {
                "contexts": "string",
                "labels": "string",
                "meshes": "string",
                "reasoning_required_pred": "string",
                "reasoning_free_pred": "string",
            },
            "long_answer": "string",
            "final_decision": "string",
        },
        splits={"train": ("once", 1800)},
        note="Only `train` exists, as on the hub.",
    ),
    GeneratedConfig(
        dataset="bigbio/mediqa_rqe",
        config="mediqa_rqe_source",
        make=questions.question_pair_rows,
        features=dict.fromkeys(("pid", "value", "chq", "faq"), "string"),
        splits={"train": ("train", 1400), "validation": ("test", 300)},
        note="There is no test split, as on the hub.",
    ),
    GeneratedConfig(
        dataset="clinc/clinc_oos",
        config="plus",
        make=intents.intent_rows,
        features={"text": "string", "intent": intents.INTENT_NAMES},
        note="12 of the 151 intents occur.",
    ),
    GeneratedConfig(
        dataset="Salesforce/xlam-function-calling-60k",
        make=functions.xlam_rows,
        features={"id": "int64", "query": "string", "answers": "string", "tools": "string"},
        splits={"train": ("once", 1800)},
        note="Only `train` exists, as on the hub.",
    ),
    _GUE(config="prom_300_tata", make=_sequences(dna.promoter_tata)),
    _GUE(config="emp_H3", make=_sequences(dna.histone_mark)),
    _GUE(config="splice_reconstructed", make=_sequences(dna.splice_site, num_classes=3)),
    GeneratedConfig(
        dataset="taskloom/needle_in_dna",
        make=_sequences(dna.needle, num_classes=len(dna.NEEDLES)),
        features={"sequence": "string", "label": "int64"},
        note="Sequences of 120 bases with one of four motifs.",
    ),
    GeneratedConfig(
        dataset="taskloom/needle_in_dna_picture",
        make=_pictures,
        features={"sequence": "string", "output": "string"},
        splits={"train": ("train", 400), "validation": ("validation", 50), "test": ("test", 100)},
        note="Sequences of 120 bases with one of four motifs, which stands for a picture.",
    ),
    GeneratedConfig(
        dataset="katarinagresova/Genomic_Benchmarks_human_nontata_promoters",
        make=_sequences(dna.promoter_without_tata, column="seq"),
        features={"seq": "string", "label": "int64"},
        splits={"train": ("train", 1400), "test": ("test", 300)},
        note="Sequences of 60 bases.",
    ),
)
"""Everything that is generated, beside BFCL's own files."""


def write_generated_mirror(folder: Path, *, seed: int = 0) -> None:
    """Write the mirror into `folder`; equal seeds give equal bytes.

    Args:
        folder: Where `owner/name` folders are made; files of the same name are replaced.
        seed: Start of every random choice.

    Raises:
        OSError: The folder cannot be written.
    """
    for config in CONFIGS:
        dataset_folder = folder / config.dataset / config.folder
        for split, (side, num_rows) in config.splits.items():
            generator = random.Random(f"{seed}/{config.dataset}/{config.config}/{split}")
            _write_rows(dataset_folder / f"{split}.jsonl", config.make(side, num_rows, generator))
    for dataset in dict.fromkeys(config.dataset for config in CONFIGS):
        _write_card(folder, dataset)
    _write_bfcl(folder / BFCL, random.Random(f"{seed}/{BFCL}"))


def ensure_generated_mirror() -> Path:
    """Return the cached mirror of seed 0; write it when it is missing or damaged.

    Raises:
        OutputError: The cache folder cannot be written.
    """
    folder = cache_root() / "embedded-data" / f"v{MIRROR_VERSION}"
    if not is_complete_folder(folder):
        with staged_folder(folder) as staged:
            write_generated_mirror(staged)
    return folder


def _write_rows(path: Path, rows: list[Row]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    path.write_text(text, encoding="utf-8")


def _write_card(folder: Path, dataset: str) -> None:
    configs = [config for config in CONFIGS if config.dataset == dataset]
    cards = [
        ConfigCard(
            name=config.config,
            files={split: f"{config.folder}{split}.jsonl" for split in config.splits},
            features=config.features,
        )
        for config in configs
    ]
    note = configs[0].note
    (folder / dataset / "README.md").write_text(render_card(dataset, cards, note), encoding="utf-8")


def _write_bfcl(folder: Path, generator: random.Random) -> None:
    rows, answers = functions.bfcl_rows("test", NUM_BFCL_ROWS, generator)
    _write_rows(folder / BFCL_FILE, rows)
    _write_rows(folder / "possible_answer" / BFCL_FILE, answers)
    card = ConfigCard(name="simple_python", files={"test": BFCL_FILE}, features={})
    (folder / "README.md").write_text(render_card(BFCL, [card], "Evaluation only."), "utf-8")
