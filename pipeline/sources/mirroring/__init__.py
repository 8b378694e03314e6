"""Copying what tasks read into a local mirror, and checking such a copy."""

from pipeline.sources.mirroring.check import check_mirror
from pipeline.sources.mirroring.copy import MirrorProgress, mirror_task, verify_task
from pipeline.sources.mirroring.plan import MirrorPlan, plan_mirror

__all__ = [
    "MirrorPlan",
    "MirrorProgress",
    "check_mirror",
    "mirror_task",
    "plan_mirror",
    "verify_task",
]
