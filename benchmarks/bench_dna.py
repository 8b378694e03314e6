"""DNA units: bases per second on one core, and how long 4096 new units take to add and load."""

from __future__ import annotations

import random
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from pipeline.adapters.token_rows import add_token_rows
from pipeline.chat.dna import UNIT_LENGTHS, UnitIds, dna_tokens, encode_units
from pipeline.chat.dna_bpe import cut_by_merges, learn_merges
from pipeline.chat.extension import TokenExtension
from pipeline.files import write_json

GENOME_BASES = 20_000_000
ROW_BASES = 500
NUM_ROWS = 4_000
WANTED = 20.0
"""Megabases per second."""
RESULTS = Path(__file__).with_name("results") / "dna.json"


def main() -> None:
    """Measure, print and write `results/dna.json`; times are of the processor, best of three."""
    generator = random.Random(0)
    row = "".join(generator.choices("ACGT", k=ROW_BASES))
    found: dict[str, dict[str, float]] = {}
    for unit in UNIT_LENGTHS:
        units = UnitIds(unit, {token: i for i, token in enumerate(dna_tokens(unit))})
        genome = row * (GENOME_BASES // ROW_BASES)
        long = GENOME_BASES / _seconds(lambda u=units, s=genome: u.encode(s)) / 1e6
        rows = lambda u=units: [u.encode(row).tolist() for _ in range(NUM_ROWS)]  # noqa: E731
        short = NUM_ROWS * ROW_BASES / _seconds(rows) / 1e6
        plain = lambda n=unit: [encode_units(row, n) for _ in range(NUM_ROWS // 10)]  # noqa: E731
        tokens = NUM_ROWS // 10 * ROW_BASES / _seconds(plain) / 1e6
        found[unit] = {"sequence": long, "rows_of_500": short, "as_texts": tokens}
        mark = "reached" if long >= WANTED else "NOT reached"
        print(
            f"{unit:18} {long:7.1f} Mb/s in one sequence, {short:6.1f} in rows of {ROW_BASES}, "
            f"{tokens:5.1f} as texts; {WANTED:.0f} {mark}"
        )
    found["bpe"] = _byte_pairs()
    seconds = _seconds_to_extend()
    print(f"4096 units added, saved and loaded: {seconds:.2f} s")
    write_json(RESULTS, {"megabases_per_second": found, "extension_seconds": seconds})


def _byte_pairs() -> dict[str, float]:
    """Return the same for 1024 words learned from random sequences, which have no table."""
    generator = random.Random(1)
    rows = ["".join(generator.choices("ACGT", k=ROW_BASES)) for _ in range(NUM_ROWS // 4)]
    merges = tuple(learn_merges(rows, size=1024))
    genome = "".join(rows)
    long = len(genome) / _seconds(lambda: cut_by_merges(genome, merges)) / 1e6
    plain = lambda: [encode_units(row, "bpe", merges) for row in rows]  # noqa: E731
    tokens = len(genome) / _seconds(plain) / 1e6
    print(f"{'bpe':18} {long:7.1f} Mb/s in one sequence, {tokens:5.1f} as texts")
    return {"sequence": long, "as_texts": tokens}


def _seconds(work: Callable[[], object]) -> float:
    times = []
    for _ in range(3):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return min(times)


def _seconds_to_extend() -> float:
    from pipeline.models.loading import load_tokenizer
    from tests.fixtures.tiny_models import save_tiny_model

    with tempfile.TemporaryDirectory() as name:
        folder = save_tiny_model(Path(name) / "base", "llama")
        from pipeline.models.loading import load_model

        model, tokenizer = load_model(str(folder)), load_tokenizer(str(folder))

        def extend() -> None:
            extension = TokenExtension(dna_unit="kmer6")
            add_token_rows(model, extension.add_to(tokenizer))
            tokenizer.save_pretrained(Path(name) / "adapter")
            load_tokenizer(str(folder), extension=extension)

        start = time.process_time()
        extend()
        return time.process_time() - start


if __name__ == "__main__":
    main()
