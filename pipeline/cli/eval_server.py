"""From options of `taskloom eval http://...` to a backend that asks a server."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.errors import EvalError

if TYPE_CHECKING:
    from eval.backends.server_backend import ServerBackend

API_KEY_VARIABLE = "OPENAI_API_KEY"
"""Environment variable with the key, where the server wants one; no option takes a key."""

DEFAULT_CONCURRENCY = 16
DEFAULT_TIMEOUT_SECONDS = 120.0
DEFAULT_ATTEMPTS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerOptions:
    """Which server, and how patiently it is asked."""

    base_url: str
    served_model: str | None = None
    tokenizer: str | None = None
    concurrency: int
    timeout_seconds: float
    num_attempts: int


def is_server(model: str | None) -> bool:
    """Return whether MODEL is the address of a server."""
    return model is not None and model.startswith(("http://", "https://"))


def read_server_options(
    model: str | None,
    *,
    served_model: str | None,
    tokenizer: str | None,
    concurrency: int | None,
    timeout: float | None,
    attempts: int | None,
) -> ServerOptions | None:
    """Return how a server is asked, or `None` where the model is none; `None`: not given.

    Raises:
        EvalError: An option of a server is given without one (CLI021).
    """
    if model is not None and is_server(model):
        return ServerOptions(
            base_url=model,
            served_model=served_model,
            tokenizer=tokenizer,
            concurrency=concurrency or DEFAULT_CONCURRENCY,
            timeout_seconds=timeout or DEFAULT_TIMEOUT_SECONDS,
            num_attempts=attempts or DEFAULT_ATTEMPTS,
        )
    given = {
        "--served-model": served_model,
        "--tokenizer": tokenizer,
        "--concurrency": concurrency,
        "--timeout": timeout,
        "--attempts": attempts,
    }
    for option, value in given.items():
        if value is not None:
            raise EvalError(
                "CLI021",
                "only a server takes this option",
                where=option,
                hint="Give the server's address as MODEL, e.g. http://localhost:8000/v1",
            )
    return None


def request_kind(request: str, options: ServerOptions) -> str:
    """Return how a server is asked: without a tokenizer it writes all answers."""
    return "generate" if request == "auto" and options.tokenizer is None else request


def build_server_backend(options: ServerOptions) -> ServerBackend:
    """Return the backend; the server is asked for its model where none is named.

    Raises:
        EvalError: The address is none (EVL070), or the server cannot be asked (EVL071).
        ModelError: The tokenizer cannot be loaded.
    """
    from eval.backends.http_client import JsonClient, Patience
    from eval.backends.server_backend import ServerBackend, find_model_name
    from pipeline.models.loading import load_tokenizer

    client = JsonClient(
        options.base_url,
        api_key=os.environ.get(API_KEY_VARIABLE),
        patience=Patience(
            timeout_seconds=options.timeout_seconds, num_attempts=options.num_attempts
        ),
    )
    return ServerBackend(
        client,
        model_name=options.served_model or find_model_name(client),
        server_name=options.base_url,
        tokenizer=None if options.tokenizer is None else load_tokenizer(options.tokenizer),
        concurrency=options.concurrency,
    )
