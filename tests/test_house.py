"""The house rules, read from the syntax tree: layers, cycles, sizes, banned calls, error codes."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

LAYERS: dict[str, int] = {
    "pipeline.errors": 0,
    "pipeline.types": 0,
    "pipeline.files": 0,
    "pipeline.adapter_folder": 0,
    "pipeline.process_group": 0,
    "pipeline.yaml_reader": 0,
    "pipeline.annotations": 1,
    "pipeline.templates": 1,
    "pipeline.functions": 1,
    "pipeline.recipe": 1,
    "pipeline.examples": 2,
    "pipeline.sources": 2,
    "pipeline.chat": 2,
    "pipeline.mixture": 3,
    "pipeline.adapters": 3,
    "pipeline.models": 3,
    "pipeline.training": 4,
    "eval": 4,
    "pipeline.train": 5,
    "pipeline.launch": 5,
    "pipeline.cli": 5,
}
SIDEWAYS = {("pipeline.examples", "pipeline.sources"), ("pipeline.cli", "pipeline.launch")}
"""Arrows inside a layer: examples are made of rows, and nothing else reads rows; `taskloom resume`
launches."""

FREE_OF_TORCH = 3
"""Layers below this one do not import torch, so that checking annotations costs no torch import."""

MAX_MODULE_LINES = 500
MAX_FUNCTION_LINES = 70
MAX_INIT_LINES = 40

BANNED_CALLS = {
    "eval",
    "exec",
    "compile",
    "torch.load",
    "pickle.load",
    "pickle.loads",
    "yaml.load",
    "yaml.safe_load",
    "yaml.full_load",
    "yaml.unsafe_load",
    "jinja2.Environment",
    "Environment",
    "os.system",
}


def modules() -> list[Path]:
    return sorted([*(ROOT / "pipeline").rglob("*.py"), *(ROOT / "eval").rglob("*.py")])


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def dotted(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def room_of(module: str) -> str | None:
    """Return the room (entry of LAYERS) a module belongs to."""
    names = [room for room in LAYERS if module == room or module.startswith(room + ".")]
    return max(names, key=len) if names else None


def imports_of(path: Path, *, everywhere: bool = True) -> set[str]:
    nodes = ast.walk(tree_of(path)) if everywhere else iter(tree_of(path).body)
    found: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def internal_edges(path: Path) -> set[tuple[str, str]]:
    """Return (room, imported room) pairs of one module."""
    room = room_of(dotted(path))
    targets = {room_of(name) for name in imports_of(path) if name.startswith(("pipeline", "eval"))}
    return {(room, target) for target in targets if room and target and target != room}


@pytest.mark.parametrize("path", modules(), ids=lambda path: dotted(path))
def test_every_module_belongs_to_a_room(path):
    assert dotted(path) in {"pipeline", "eval"} or room_of(dotted(path)), (
        f"{dotted(path)} is in no room of LAYERS: add it to the house in this change"
    )


def test_imports_point_only_downwards():
    wrong = [
        f"{dotted(path)} (L{LAYERS[room]}) imports {target} (L{LAYERS[target]})"
        for path in modules()
        for room, target in internal_edges(path)
        if LAYERS[target] >= LAYERS[room] > 0 and (room, target) not in SIDEWAYS
    ]
    assert not wrong, "\n".join(wrong)


def test_packages_import_each_other_without_cycles():
    graph: dict[str, set[str]] = {}
    for path in modules():
        for room, target in internal_edges(path):
            graph.setdefault(room, set()).add(target)
    done: set[str] = set()

    def visit(room: str, trail: tuple[str, ...]) -> None:
        assert room not in trail, " -> ".join([*trail, room])
        if room not in done:
            for target in sorted(graph.get(room, ())):
                visit(target, (*trail, room))
            done.add(room)

    for room in sorted(graph):
        visit(room, ())


def test_eval_never_imports_training():
    wrong = [
        dotted(path)
        for path in modules()
        if dotted(path).startswith("eval")
        and any(name.startswith("pipeline.training") for name in imports_of(path))
    ]
    assert not wrong


@pytest.mark.parametrize("heavy", ["torch", "transformers", "datasets", "peft", "trl"])
def test_layers_below_the_mixture_do_not_import_heavy_packages_at_the_top(heavy):
    wrong = []
    for path in modules():
        room = room_of(dotted(path))
        tops = {name.split(".")[0] for name in imports_of(path, everywhere=False)}
        if room and LAYERS[room] < FREE_OF_TORCH and heavy in tops:
            wrong.append(dotted(path))
    assert not wrong


def test_listing_the_catalogue_does_not_import_torch():
    code = (
        "import sys\n"
        "from pipeline.annotations.catalogue import load_catalogue\n"
        "load_catalogue().ids()\n"
        "sys.exit(int('torch' in sys.modules))\n"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False)
    assert result.returncode == 0


@pytest.mark.parametrize("path", modules(), ids=lambda path: dotted(path))
def test_modules_and_functions_stay_small(path):
    lines = len(path.read_text(encoding="utf-8").splitlines())
    limit = MAX_INIT_LINES if path.name == "__init__.py" else MAX_MODULE_LINES
    assert lines <= limit, f"{lines} lines, at most {limit}"
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or 0) - node.lineno + 1
            assert length <= MAX_FUNCTION_LINES, f"{node.name}: {length} lines"


def call_name(node: ast.Call) -> str:
    return ast.unparse(node.func)


@pytest.mark.parametrize("path", modules(), ids=lambda path: dotted(path))
def test_no_banned_call(path):
    calls = {call_name(node) for node in ast.walk(tree_of(path)) if isinstance(node, ast.Call)}
    assert not calls & BANNED_CALLS


@pytest.mark.parametrize("path", modules(), ids=lambda path: dotted(path))
def test_remote_code_is_never_trusted(path):
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.keyword) and node.arg == "trust_remote_code":
            assert isinstance(node.value, ast.Constant)
            assert node.value.value is False


@pytest.mark.parametrize("path", modules(), ids=lambda path: dotted(path))
def test_every_public_definition_has_a_docstring(path):
    tree = tree_of(path)
    assert ast.get_docstring(tree), "module docstring is missing"
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            assert ast.get_docstring(node), f"{node.name} has no docstring"


CODE = re.compile(r'"([A-Z]{3}\d{3})"')


def codes_in_source() -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for path in modules():
        for code in CODE.findall(path.read_text(encoding="utf-8")):
            found.setdefault(code, set()).add(dotted(path))
    return found


def test_every_error_code_is_documented_and_every_documented_code_is_used():
    table = (ROOT / "docs" / "errors.md").read_text(encoding="utf-8")
    documented = set(re.findall(r"^\| ([A-Z]{3}\d{3}) \|", table, flags=re.MULTILINE))
    used = set(codes_in_source())
    assert used - documented == set(), "codes without a line in docs/errors.md"
    assert documented - used == set(), "documented codes that no source raises"


def tracked_files() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=False,
    )
    names = [name for name in listed.stdout.decode().split("\0") if name]
    return [ROOT / name for name in names]


def test_nothing_left_to_do_is_hidden_in_the_source():
    marks = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")
    wrong = [dotted(path) for path in modules() if marks.search(path.read_text(encoding="utf-8"))]
    assert not wrong


def test_no_large_or_binary_weight_file_is_committed():
    allowed_bytes = 2_500_000
    wrong = [
        path.relative_to(ROOT).as_posix()
        for path in tracked_files()
        if path.is_file()
        and (path.stat().st_size > allowed_bytes or path.suffix in {".bin", ".pt", ".pkl", ".pth"})
    ]
    assert not wrong
