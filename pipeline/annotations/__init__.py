"""Dataset annotations: one YAML file says how a public dataset becomes examples of a task."""

from pipeline.annotations.catalogue import Catalogue, builtin_folder, load_catalogue
from pipeline.annotations.field_values import compile_fields
from pipeline.annotations.outcomes import RowSkipped
from pipeline.annotations.schema import DatasetAnnotation, load_annotation
from pipeline.annotations.task_kinds import TASK_KINDS

__all__ = [
    "TASK_KINDS",
    "Catalogue",
    "DatasetAnnotation",
    "RowSkipped",
    "builtin_folder",
    "compile_fields",
    "load_annotation",
    "load_catalogue",
]
