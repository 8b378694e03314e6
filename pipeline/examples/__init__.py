"""Examples of a task: what the rows of its source mean, cached as Arrow."""

from pipeline.examples.cache import load_examples, report_to_json
from pipeline.examples.normalise import splits_made
from pipeline.examples.registered import REGISTERED_FUNCTIONS
from pipeline.examples.stored import ExamplesReport, StoredExamples

__all__ = [
    "REGISTERED_FUNCTIONS",
    "ExamplesReport",
    "StoredExamples",
    "load_examples",
    "report_to_json",
    "splits_made",
]
