"""Everything that decides the embedded base."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from pipeline.files import sha256_of_json


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseSettings:
    """Shape, schedule and seed of the embedded base; its fingerprint names the cached folder."""

    version: int = 2
    """Raise when code changes the result without changing another field."""
    hidden_size: int = 128
    num_layers: int = 4
    num_heads: int = 4
    intermediate_size: int = 320
    initializer_range: float = 0.08
    """About one over the square root of the width."""
    rope_theta: float = 100_000.0
    max_position_embeddings: int = 2048
    num_offsets: int = 2
    """Previous tokens that the structured start makes visible."""
    num_steps: int = 1400
    tokens_per_step: int = 2048
    """Padded tokens of one batch."""
    learning_rate: float = 3e-3
    num_warmup_steps: int = 60
    flat_fraction: float = 0.2
    """Share of the steps before the rate falls linearly."""
    final_rate_fraction: float = 0.03
    short_list_fraction: float = 0.25
    """Share of the steps with short lists only."""
    prompt_weight: float = 0.03
    """Loss weight of prompt tokens; the names in them cannot be predicted."""
    seed: int = 0

    def fingerprint(self) -> str:
        """Return 16 hex digits that change with any field."""
        return sha256_of_json(asdict(self))[:16]
