"""Generated rows under the names and schemas of public datasets: the embedded default's data."""

from pipeline.sources.generated.mirror import ensure_generated_mirror, write_generated_mirror

__all__ = ["ensure_generated_mirror", "write_generated_mirror"]
