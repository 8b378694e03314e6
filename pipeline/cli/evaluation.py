"""`taskloom eval` and `score`: from a model or given answers to a leaderboard."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from pipeline.cli.backends import model_backends
from pipeline.cli.eval_recipe import fields_beside_recipe
from pipeline.cli.eval_server import (
    ServerOptions,
    build_server_backend,
    is_server,
    read_server_options,
    request_kind,
)
from pipeline.cli.report import show_leaderboard
from pipeline.cli.shared import (
    Settings,
    catalogue_of,
    settings_of,
    split_of,
    stderr,
)
from pipeline.errors import EvalError
from pipeline.types import Split

if TYPE_CHECKING:
    from eval.backends.base import Backend
    from eval.results import DataRootKind
    from eval.tasks import EvalTask
    from pipeline.cli.eval_processes import Launch
    from pipeline.recipe.schema import Recipe

RUNS_FOLDER = Path("runs")


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One evaluation, however it was asked for."""

    model: str
    model_revision: str | None
    chat_template_path: Path | None
    adapter: Path | None
    include_base: bool
    tasks: list[EvalTask]
    folder: Path
    """Receives one folder per evaluated model, and the report."""
    kind: DataRootKind
    max_rows: int | None
    request: str
    style: str
    function_format: str
    max_batch_tokens: int | None
    max_length: int | None
    loading: dict[str, object]
    """Options of `load_model`."""
    average_strands: bool = False
    """Whether DNA is read on both strands, where the task allows it."""
    server: ServerOptions | None = None
    """Asked in place of a model in this process."""


def evaluate_model(
    context: typer.Context,
    *,
    model: Annotated[
        str | None,
        typer.Argument(help="'embedded', a folder, a hub id, or a server: http://host:port/v1."),
    ] = None,
    overrides: Annotated[
        list[str] | None, typer.Argument(help="With --recipe: --field value, as for training.")
    ] = None,
    adapter: Annotated[Path | None, typer.Option(help="Adapter folder on top of MODEL.")] = None,
    tasks: Annotated[str | None, typer.Option(help="Task ids, with commas between.")] = None,
    recipe: Annotated[
        Path | None, typer.Option(help="Evaluate what this recipe trained, as it says.")
    ] = None,
    split: Annotated[
        str | None, typer.Option(help="train, validation or test; test when left out.")
    ] = None,
    max_rows: Annotated[int | None, typer.Option(min=1, help="Rows per task, sampled.")] = None,
    request: Annotated[
        str | None, typer.Option(help="auto, generate or choices: how answers are asked for.")
    ] = None,
    style: Annotated[str | None, typer.Option(help="Name of the wording.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for the results.")] = None,
    served_model: Annotated[str | None, typer.Option(help="Server: name of the model.")] = None,
    tokenizer: Annotated[
        str | None, typer.Option(help="Server: folder or hub id, for likelihoods of choices.")
    ] = None,
    concurrency: Annotated[
        int | None, typer.Option(min=1, help="Server: requests at a time, usually 16.")
    ] = None,
    timeout: Annotated[
        float | None, typer.Option(min=0.1, help="Server: seconds per attempt, usually 120.")
    ] = None,
    attempts: Annotated[int | None, typer.Option(min=1, help="Server: tries, usually 5.")] = None,
) -> None:
    """Evaluate a model, or what a recipe trained, and print the leaderboard.

    A server's key is read from the environment (OPENAI_API_KEY) and never written down. Several
    processes share the rows under `python -m pipeline.launch ... -m pipeline.cli.main eval ...`.

    Examples:
        taskloom eval --recipe recipes/quickstart/embedded.yaml --evaluation.max_rows 50
        taskloom --data-root /data/mirror eval Qwen/Qwen3-0.6B --tasks pubmedqa,gue/emp_H3
        taskloom eval Qwen/Qwen3-0.6B --adapter runs/mine/adapter --tasks codah --max-rows 200
        taskloom eval http://localhost:8000/v1 --tokenizer Qwen/Qwen3-8B --tasks xlam_60k/calls
        taskloom --data-root /data/mirror eval Qwen/Qwen3-0.6B --tasks bfcl
    """
    from pipeline.cli.eval_processes import find_launch
    from pipeline.models.quiet import quiet_libraries
    from pipeline.process_group import group_left

    quiet_libraries()
    server = read_server_options(
        model,
        served_model=served_model,
        tokenizer=tokenizer,
        concurrency=concurrency,
        timeout=timeout,
        attempts=attempts,
    )
    options: dict[str, object] = {"tasks": tasks, "adapter": adapter, "split": split, "out": out}
    options |= {"max-rows": max_rows, "request": request, "style": style}
    launch = find_launch()
    job = launch.first_process_first(
        lambda: _job(context, model, recipe, overrides=list(overrides or []), options=options)
    )
    with group_left():
        _run(job if recipe is not None else replace(job, server=server), launch)


def _job(
    context: typer.Context,
    model: str | None,
    recipe: Path | None,
    *,
    overrides: list[str],
    options: Mapping[str, Any],
) -> Job:
    """Return what to evaluate, from a recipe or from options."""
    from eval.tasks import Asking, check_asking

    settings = settings_of(context)
    if recipe is not None:
        return _job_of_recipe(recipe, fields_beside_recipe(model, overrides, options), settings)
    if model is None or options["tasks"] is None:
        raise EvalError(
            "CLI003",
            "what to evaluate is not told: got neither --recipe nor MODEL with --tasks",
            hint="See `taskloom eval --help`",
        )
    if overrides:
        raise EvalError(
            "CLI005",
            f"no option {overrides[0]!r} without --recipe",
            hint="See `taskloom eval --help`",
        )
    if is_server(model) and options["adapter"] is not None:
        raise EvalError(
            "CLI022",
            "an adapter cannot be put onto the model of a server",
            where="--adapter",
            hint="Let the server load it, and name it with --served-model",
        )
    asking = Asking(request=options["request"] or "auto", style=options["style"] or "plain")
    check_asking(asking)
    names = [name.strip() for name in options["tasks"].split(",") if name.strip()]
    job = job_of_options(
        model,
        names,
        settings,
        split=split_of(options["split"] or "test"),
        adapter=options["adapter"],
    )
    return replace(
        job,
        max_rows=options["max-rows"],
        request=asking.request,
        style=asking.style,
        folder=options["out"] or job.folder,
    )


def _job_of_recipe(path: Path, overrides: list[str], settings: Settings) -> Job:
    from pipeline.recipe import load_recipe
    from pipeline.training.early_checks import check_style

    recipe = load_recipe(path, overrides)
    check_style(recipe.style)
    run_folder = Path(cast("str", recipe.output_dir))
    adapter = run_folder / "adapter"
    if not adapter.is_dir():
        raise EvalError(
            "CLI004",
            "the recipe's run has no adapter yet",
            where=run_folder,
            hint=f"Train it first: python -m pipeline.train {path}",
        )
    return replace(job_of(recipe, settings, folder=run_folder / "eval"), adapter=adapter)


def job_of(recipe: Recipe, settings: Settings, *, folder: Path) -> Job:
    """Return the evaluation that a training recipe asks for, without an adapter.

    Args:
        recipe: Says model, tasks, wording and limits.
        settings: Options given before the verb.
        folder: Receives the results.

    Raises:
        AnnotationError: A task is unknown or has no such split.
        SourceError: Its data cannot be read.
    """
    from pipeline.cli.eval_tasks import build_eval_tasks, data_root_kind
    from pipeline.recipe.schema import EvaluationSettings
    from pipeline.sources.data_root import resolve_data_root

    evaluation = recipe.evaluation or EvaluationSettings()
    folders = (*settings.annotation_folders, *(Path(name) for name in recipe.annotations))
    catalogue = catalogue_of(Settings(annotation_folders=folders))
    given = settings.data_root or recipe.data_root
    data_root = resolve_data_root(given)
    names = evaluation.tasks or tuple(entry.task for entry in recipe.tasks)
    tasks = build_eval_tasks(
        catalogue,
        names,
        split=evaluation.split,
        data_root=data_root,
        max_new_tokens=evaluation.max_new_tokens,
    )
    return Job(
        model=recipe.model_name_or_path,
        model_revision=recipe.model_revision,
        chat_template_path=Path(template) if (template := recipe.chat_template_path) else None,
        adapter=None,
        include_base=evaluation.include_base,
        tasks=tasks,
        folder=folder,
        kind=data_root_kind(given, data_root, tasks),
        max_rows=evaluation.max_rows,
        request=evaluation.request,
        average_strands=evaluation.average_strands,
        style=recipe.style,
        function_format=recipe.function_format,
        max_batch_tokens=evaluation.batch_tokens,
        max_length=evaluation.max_length,
        loading=_loading_options(recipe),
    )


def _loading_options(recipe: Recipe) -> dict[str, object]:
    names = (
        "dtype",
        "attn_implementation",
        "load_in_4bit",
        "load_in_8bit",
        "bnb_4bit_quant_type",
        "use_bnb_nested_quant",
    )
    return {name: getattr(recipe, name) for name in names}


def job_of_options(
    model: str, names: list[str], settings: Settings, *, split: Split, adapter: Path | None
) -> Job:
    """Return the evaluation of a model on tasks, all else as usual.

    Raises:
        AnnotationError: A task is unknown or has no such split.
        SourceError: Its data cannot be read.
    """
    from pipeline.cli.eval_tasks import build_eval_tasks, data_root_kind
    from pipeline.sources.data_root import resolve_data_root

    data_root = resolve_data_root(settings.data_root)
    tasks = build_eval_tasks(catalogue_of(settings), names, split=split, data_root=data_root)
    parts = [model, *([str(adapter)] if adapter else [])]
    name = re.sub(r"[^A-Za-z0-9.]+", "-", "-".join(parts)).strip("-.")
    return Job(
        model=model,
        model_revision=None,
        chat_template_path=None,
        adapter=adapter,
        include_base=adapter is None,
        tasks=tasks,
        folder=RUNS_FOLDER / f"eval-{name}",
        kind=data_root_kind(settings.data_root, data_root, tasks),
        max_rows=None,
        request="auto",
        style="plain",
        function_format="chat_template",
        max_batch_tokens=None,
        max_length=None,
        loading={},
    )


def _run(job: Job, launch: Launch) -> None:
    """Evaluate what the job names, and show it."""
    folders = (
        [_evaluate(job, build_server_backend(job.server), "server", launch)]
        if job.server is not None
        else evaluate_here(job, launch)
    )
    if launch.is_first:
        show_leaderboard(folders, job.folder.parent if job.folder.name == "eval" else job.folder)


def evaluate_here(job: Job, launch: Launch) -> list[Path]:
    """Evaluate the base, then the adapter on top of it, and return the folders of results."""
    from pipeline.adapter_folder import ADAPTER_WEIGHTS_FILE, check_adapter_folder
    from pipeline.adapters.evaluated_loads import counted_evaluation, write_evaluated_routing
    from pipeline.models.loading import resolve_model

    if job.adapter is not None:
        check_adapter_folder(job.adapter)
    backends = model_backends(
        job.model,
        launch.first_process_first(lambda: resolve_model(job.model)),
        adapter=job.adapter,
        include_base=job.include_base,
        revision=job.model_revision,
        chat_template_path=job.chat_template_path,
        max_batch_tokens=job.max_batch_tokens,
        max_length=job.max_length,
        loading=job.loading,
    )
    folders = []
    for name, backend in backends:
        with counted_evaluation(backend.model) as loads:
            folders.append(_evaluate(job, backend, name, launch))
        if job.adapter is not None and launch.is_first:
            weights = job.adapter / ADAPTER_WEIGHTS_FILE
            write_evaluated_routing(folders[-1], backend.model, loads, weights)
    return folders


def _on_both_strands(job: Job, backend: Backend) -> Backend:
    from eval.backends.both_strands import BothStrands

    specs = [task.spec for task in job.tasks]
    alike = {spec.id for spec in specs if spec.settings.get("reverse_complement")}
    return BothStrands(backend, alike) if job.average_strands and alike else backend


def _evaluate(job: Job, backend: Backend, name: str, launch: Launch) -> Path:
    from eval.harness import answer_share, evaluate
    from eval.progress import RichProgress
    from eval.tasks import Asking, RequestChoice
    from pipeline.process_group import heard_if_alone

    backend = _on_both_strands(job, backend)
    folder = job.folder / name
    shown = name if job.folder.name == "eval" else job.model
    if job.server is not None:
        # The address is no name, and only its fingerprint is written down.
        shown = str(backend.describe()["model"])
    request = job.request if job.server is None else request_kind(job.request, job.server)
    asking = Asking(
        request=cast("RequestChoice", request),
        style=job.style,
        function_format=job.function_format,
    )
    processes = launch.processes
    if processes is not None and not launch.is_first:
        with heard_if_alone():
            answer_share(
                backend,
                job.tasks,
                output_folder=folder,
                processes=processes,
                max_rows=job.max_rows,
                asking=asking,
            )
        return folder
    stderr.print(f"evaluating {name}: {job.model}", soft_wrap=True)
    with RichProgress(stderr) as progress:
        evaluate(
            backend,
            job.tasks,
            output_folder=folder,
            name=shown,
            data_root_kind=job.kind,
            max_rows=job.max_rows,
            asking=asking,
            progress=progress,
            processes=processes,
        )
    if progress.num_resumed:
        stderr.print(
            f"{progress.num_resumed:,} answers were taken over from {folder}; to ask anew, delete "
            "it or choose another --out",
            markup=False,
            soft_wrap=True,
        )
    return folder


def score(
    context: typer.Context,
    *,
    task: Annotated[str, typer.Argument(help="Task id, see `taskloom list`; or `bfcl`.")],
    predictions: Annotated[Path, typer.Argument(help="JSON lines of {key, text}.")],
    split: Annotated[str, typer.Option(help="train, validation or test.")] = "test",
    out: Annotated[Path | None, typer.Option(help="Folder for the results.")] = None,
) -> None:
    """Score given answers without a model; rows without an answer count as wrong.

    Examples:
        taskloom --data-root /data/mirror score ncbi_disease answers.jsonl
    """
    from eval.backends.given_backend import load_given_answers
    from eval.harness import evaluate
    from pipeline.cli.eval_tasks import build_eval_tasks, data_root_kind
    from pipeline.sources.data_root import resolve_data_root

    settings = settings_of(context)
    data_root = resolve_data_root(settings.data_root)
    tasks = build_eval_tasks(
        catalogue_of(settings), [task], split=split_of(split), data_root=data_root
    )
    keys = [example.key for one in tasks for example in one.examples]
    folder = out or RUNS_FOLDER / f"score-{task.replace('/', '-')}-{predictions.stem}"
    result = evaluate(
        load_given_answers(predictions, keys),
        tasks,
        output_folder=folder,
        name=predictions.name,
        data_root_kind=data_root_kind(settings.data_root, data_root, tasks),
    )
    if num_missing := sum(part.failures.get("no_answer", 0) for part in result.tasks):
        stderr.print(f"{num_missing:,} of {len(keys):,} rows without an answer, counted as wrong")
    show_leaderboard([folder], folder)
