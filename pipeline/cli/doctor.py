"""`taskloom doctor`: is this machine ready, and if not, what to do about it."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import platform
import shutil
import socket
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.table import Table

from pipeline.cli.shared import Settings, settings_of, stdout
from pipeline.errors import EXIT_USER_ERROR, SourceError
from pipeline.files import cache_root

CORE_PACKAGES = ("torch", "transformers", "peft", "trl", "accelerate", "datasets", "safetensors")
OPTIONAL_PACKAGES = {
    "deepspeed": "pip install 'taskloom[gpu]' for DeepSpeed ZeRO",
    "bitsandbytes": "pip install 'taskloom[gpu]' for 4-bit and 8-bit bases",
    "scikit-learn": "pip install 'taskloom[eval]' for cross-checks of metrics",
}
MIN_FREE_GIB = 5.0
HUB_TIMEOUT_SECONDS = 3.0

State = Literal["ok", "absent", "problem"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report."""

    subject: str
    state: State
    """`absent` is fine for most users; `problem` stops the main job."""
    detail: str
    advice: str = ""


def doctor(
    context: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Report versions, devices, distributed types, disk and data, with advice.

    Exits with 2 when something the main job needs is missing.

    Examples:
        taskloom doctor
        taskloom --data-root /data/mirror doctor --json
    """
    findings = examine(settings_of(context))
    if as_json:
        stdout.print_json(json.dumps([asdict(finding) for finding in findings]))
    else:
        stdout.print(_table(findings))
    if any(finding.state == "problem" for finding in findings):
        raise typer.Exit(EXIT_USER_ERROR)


def examine(settings: Settings) -> list[Finding]:
    """Return all findings, in the order they are shown."""
    sections: list[Callable[[], list[Finding]]] = [
        _python,
        _packages,
        _devices,
        _distributed_types,
        _disk,
        lambda: _data(settings),
    ]
    return [finding for section in sections for finding in section()]


def _table(findings: list[Finding]) -> Table:
    colours = {"ok": "green", "absent": "yellow", "problem": "red"}
    table = Table("", "found", "advice", title="taskloom doctor", title_justify="left")
    for finding in findings:
        mark = f"[{colours[finding.state]}]{finding.state:>7}[/] {finding.subject}"
        table.add_row(mark, finding.detail, finding.advice)
    return table


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _python() -> list[Finding]:
    return [Finding("Python", "ok", f"{platform.python_version()} on {platform.platform()}")]


def _packages() -> list[Finding]:
    findings = []
    for package in CORE_PACKAGES:
        version = _version(package)
        state: State = "ok" if version else "problem"
        advice = "" if version else "pip install --constraint constraints.txt --editable ."
        findings.append(Finding(package, state, version or "not installed", advice))
    for package, advice in OPTIONAL_PACKAGES.items():
        version = _version(package)
        findings.append(
            Finding(package, "ok", version)
            if version
            else Finding(package, "absent", "not installed", advice)
        )
    return findings


def _devices() -> list[Finding]:
    if importlib.util.find_spec("torch") is None:
        return []
    import torch

    cpu = Finding("CPU", "ok", f"{os.cpu_count()} cores, {_memory_gib():.0f} GiB memory")
    if not torch.cuda.is_available():
        built_for = torch.version.cuda
        advice = "use accelerate_configs/cpu.yaml"
        if built_for is None and shutil.which("nvidia-smi"):
            advice = "this torch has no CUDA: reinstall torch from the default package index"
        return [cpu, Finding("GPU", "absent", "no CUDA device", advice)]
    names = []
    for index in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(index)
        names.append(f"{properties.name} {properties.total_memory / 2**30:.0f} GiB")
    bf16 = "bf16" if torch.cuda.is_bf16_supported() else "no bf16: set fp16: true"
    return [cpu, Finding("GPU", "ok", f"{', '.join(names)} ({bf16})")]


def _memory_gib() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30


def _distributed_types() -> list[Finding]:
    if importlib.util.find_spec("torch") is None:
        return []
    import torch
    from torch import distributed

    num_gpus = torch.cuda.device_count()
    backends = [
        name
        for name, available in (
            ("gloo", distributed.is_gloo_available()),
            ("nccl", distributed.is_nccl_available() and num_gpus > 0),
        )
        if available
    ]
    ddp = Finding("DDP", "ok", f"backends {', '.join(backends)}; {num_gpus} GPUs")
    fsdp = Finding("FSDP2", "ok", f"{num_gpus} GPUs")
    if num_gpus == 0:
        fsdp = Finding("FSDP2", "absent", "needs GPUs", "use DDP or DeepSpeed on CPU")
    return [ddp, fsdp, _deepspeed()]


def _deepspeed() -> Finding:
    if _version("deepspeed") is None:
        return Finding("DeepSpeed ZeRO", "absent", "not installed", "pip install 'taskloom[gpu]'")
    missing = [tool for tool in ("g++", "ninja") if shutil.which(tool) is None]
    if missing:
        advice = "install them: DeepSpeed builds a C++ extension at its first start"
        return Finding("DeepSpeed ZeRO", "absent", f"lacks {', '.join(missing)}", advice)
    return Finding("DeepSpeed ZeRO", "ok", "ZeRO-2 and ZeRO-3")


def _disk() -> list[Finding]:
    findings = []
    for subject, folder in (("cache", cache_root()), ("run folder", Path("runs").absolute())):
        existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
        free_gib = shutil.disk_usage(existing).free / 2**30
        detail = f"{folder}: {free_gib:.0f} GiB free"
        if not os.access(existing, os.W_OK):
            advice = "set TASKLOOM_CACHE or output_dir to a folder you may write to"
            findings.append(Finding(subject, "problem", f"{folder}: not writable", advice))
        elif free_gib < MIN_FREE_GIB:
            findings.append(
                Finding(subject, "problem", detail, f"free at least {MIN_FREE_GIB} GiB")
            )
        else:
            findings.append(Finding(subject, "ok", detail))
    return findings


def _data(settings: Settings) -> list[Finding]:
    from pipeline.sources.data_root import resolve_data_root

    findings = []
    if settings.data_root == "embedded":
        findings.append(Finding("data root", "ok", "embedded (generated data)"))
    else:
        try:
            root = resolve_data_root(settings.data_root)
        except SourceError as error:
            findings.append(Finding("data root", "problem", str(error), error.hint or ""))
        else:
            detail = str(root) if root else "none given: data comes from the hub"
            findings.append(Finding("data root", "ok", detail))
    findings.append(_hub())
    return findings


def _hub() -> Finding:
    if os.environ.get("HF_HUB_OFFLINE") == "1":
        return Finding("hub", "absent", "HF_HUB_OFFLINE=1", "data must be in --data-root or cached")
    from huggingface_hub import constants

    host = constants.ENDPOINT.split("//")[-1].split("/")[0]
    try:
        socket.create_connection((host, 443), timeout=HUB_TIMEOUT_SECONDS).close()
    except OSError as error:
        advice = "use --data-root with a local mirror, and local model folders"
        return Finding("hub", "absent", f"{host} not reachable ({error})", advice)
    return Finding("hub", "ok", f"{host} reachable")
