"""What may stand beside `taskloom eval --recipe`, and which fields of the recipe it changes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pipeline.cli.eval_server import is_server
from pipeline.errors import EvalError

_FIELDS = {"tasks": "evaluation.tasks", "style": "style"}
"""Options that are told in the same words by a field of the recipe."""
_HINTS = {
    "split": "Change the recipe's field: --evaluation.split",
    "max-rows": "Change the recipe's field: --evaluation.max_rows",
    "request": "Change the recipe's field: --evaluation.request",
    "adapter": "Leave out --recipe, and give MODEL and --tasks",
    "out": "Results go into the folder `eval` of the run; leave out --recipe for another",
}


def fields_beside_recipe(
    model: str | None, overrides: Sequence[str], options: Mapping[str, object]
) -> list[str]:
    """Return the recipe's fields that the command line changes, as `--field value`.

    Args:
        model: First argument; with a recipe an option that typer does not know.
        overrides: The arguments after it.
        options: Options of the command by name, `None` where they are not given.

    Raises:
        EvalError: The recipe says one of them already (CLI008).
    """
    if model is not None and not model.startswith("--"):
        raise EvalError(
            "CLI008",
            "the recipe names the model already",
            where=model,
            hint="Leave out --recipe"
            if is_server(model)
            else f"Leave it out, or change the recipe's field: --model_name_or_path {model}",
        )
    fields = []
    for option, value in options.items():
        if value is None:
            continue
        if option not in _FIELDS:
            raise EvalError(
                "CLI008",
                "the recipe says this already",
                where=f"--{option}",
                hint=_HINTS[option],
            )
        given = str(value)
        if option == "tasks" and not given.lstrip().startswith("["):
            given = f"[{given}]"
        fields += [f"--{_FIELDS[option]}", given]
    return [*fields, *overrides] if model is None else [*fields, model, *overrides]
