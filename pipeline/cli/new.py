"""`taskloom new`: drafts an annotation from what a dataset shows."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer
from rich.status import Status

from pipeline.cli.shared import Settings, catalogue_of, settings_of, stderr, stdout
from pipeline.errors import AnnotationError, OutputError, PipelineError, SourceError, did_you_mean
from pipeline.files import write_text

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipeline.examples.drafting import Draft
    from pipeline.examples.drafting.survey import Survey
    from pipeline.types import TaskKind


def new(
    context: typer.Context,
    *,
    dataset: Annotated[
        str, typer.Argument(help="owner/name, or a folder or file of your own: ./talks.jsonl.")
    ],
    config: Annotated[str | None, typer.Option(help="Config of the dataset.")] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="YAML file to write; by default NAME.yaml here, or beside your data."),
    ] = None,
    task: Annotated[str | None, typer.Option(help="Kind of task, instead of a guess.")] = None,
    golden_from_rows: Annotated[
        bool,
        typer.Option(
            help="Copy two short rows of the data into the file instead of inventing some; only "
            "where the licence on the card allows to pass rows on."
        ),
    ] = False,
) -> None:
    """Draft an annotation: guess the task from columns and rows, run it on them, write the YAML.

    What is doubtful stands in comments. The file passes `taskloom check` as it is.

    Examples:
        taskloom new cornell-movie-review-data/rotten_tomatoes
        taskloom --data-root /data/mirror new allenai/ai2_arc --config ARC-Easy --out tasks/arc.yaml
        taskloom new ./talks --task classification
    """
    from pipeline.examples.drafting import draft_annotation
    from pipeline.sources.data_root import EMBEDDED, resolve_data_root

    settings = settings_of(context)
    kind = _kind(task)
    data_root = resolve_data_root(settings.data_root)
    own = _own_data(dataset, data_root)
    if own is not None and config is not None:
        raise SourceError(
            "CLI014",
            "only datasets of the hub have configs",
            where="--config",
            hint="Leave it out, or name the folder of one config",
        )
    target = out or _default_out(dataset, own)
    if target.exists():
        raise OutputError(
            "CLI010", "the file is already there", where=target, hint="Name another with --out"
        )
    with Status("reading rows", console=stderr) as status:
        survey = _survey(dataset, own, target, config=config, data_root=data_root)
        if golden_from_rows:
            _check_licence(survey)
        draft = draft_annotation(
            survey,
            target,
            kind=kind,
            taken_ids=_taken_ids(settings),
            data_root=data_root,
            is_real=str(settings.data_root) != EMBEDDED,
            with_real_golden=golden_from_rows,
            progress=cast("Callable[[str], None]", status.update),
        )
    write_text(target, draft.text)
    _tell(draft, target)


def _kind(task: str | None) -> TaskKind | None:
    from pipeline.examples.drafting.kinds import RULES

    if task is not None and task not in RULES:
        raise AnnotationError(
            "CLI007",
            f"no kind {task!r} can be drafted",
            where="--task",
            hint=did_you_mean(task, RULES),
        )
    return task


def _own_data(dataset: str, data_root: Path | None) -> Path | None:
    """Return the folder or file that `dataset` names, `None` if it is a dataset id."""
    path = Path(dataset).expanduser()
    is_id = not dataset.startswith((".", "/", "~")) and dataset.count("/") == 1
    if is_id and (data_root is not None and (data_root / dataset).is_dir()):
        return None
    if path.exists():
        return path
    if is_id or "/" not in dataset:
        return None
    raise SourceError(
        "CLI002", "no such file or folder", where=dataset, hint="Check the path's spelling"
    )


def _default_out(dataset: str, own: Path | None) -> Path:
    if own is None:
        return Path(f"{dataset.rpartition('/')[2]}.yaml")
    return own.parent / f"{own.resolve().name.split('.')[0]}.yaml"


def _survey(
    dataset: str, own: Path | None, out: Path, *, config: str | None, data_root: Path | None
) -> Survey:
    from pipeline.examples.drafting.survey import survey_files, survey_hub

    if own is not None:
        try:
            return survey_files(own, out.parent)
        except SourceError as error:
            if error.code == "SRC152":
                # As it was typed, not as it lies beside the annotation.
                error.where = dataset
            raise
    return survey_hub(dataset, config, data_root)


def _taken_ids(settings: Settings) -> set[str]:
    """Return the ids in use; a broken annotation elsewhere stops nobody from drafting a new one."""
    for known in (settings, Settings()):
        with contextlib.suppress(PipelineError):
            return set(catalogue_of(known).ids())
    return set()


def _check_licence(survey: Survey) -> None:
    from pipeline.examples.drafting.heading import ALLOWS_ROWS

    licence = (survey.facts.licence or "unknown").lower()
    if licence not in ALLOWS_ROWS or survey.is_gated:
        closed = "the dataset is gated" if survey.is_gated else f"the card's licence is {licence}"
        raise SourceError(
            "CLI011",
            f"rows of it may not be copied: {closed}",
            where="--golden-from-rows",
            hint="Leave the option out: invented rows are written instead",
        )


def _tell(draft: Draft, target: Path) -> None:
    annotation = draft.annotation
    stdout.print(f"{target}: {annotation.id}, {annotation.task}", markup=False, soft_wrap=True)
    stdout.print(f"  because {draft.guess.reason}", markup=False, soft_wrap=True)
    if draft.others:
        stdout.print(f"  could also be (--task): {', '.join(draft.others)}", soft_wrap=True)
    for report in draft.reports:
        counts = f"{report.num_rows} rows -> {report.num_available} examples"
        stdout.print(f"  {report.split}: {counts}", markup=False, soft_wrap=True)
    if draft.error is not None:
        stdout.print(f"  not run on the rows: {draft.error}", markup=False, soft_wrap=True)
    doubts = sum(len(lines) for lines in draft.guess.doubts.values())
    stdout.print(f"  {doubts} comments in the file say what to look at; then", soft_wrap=True)
    stdout.print(f"  taskloom check {target}", markup=False, soft_wrap=True)
