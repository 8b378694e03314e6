"""JSON over HTTP to a server that may be slow, overloaded or wrong; standard library only.

Guaranteed: every call ends within its time limit and attempts, in a JSON object or a typed
failure; redirects are not followed, so the key goes to the named server only.
"""

from __future__ import annotations

import http.client
import json
import random
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlsplit

from pipeline.errors import EvalError
from pipeline.types import Json

FailureCode = Literal[
    "server_unreachable", "server_timeout", "server_error", "server_refused", "server_garbage"
]
"""`server_unreachable`: no connection; `server_timeout`: no whole answer in time; `server_error`:
HTTP 5xx or 429 to the last attempt; `server_refused`: any other HTTP error; `server_garbage`: an
answer that is not what the protocol says."""

MAX_RESPONSE_BYTES = 16 * 2**20
_CHUNK = 65_536
_MAX_WAIT_SECONDS = 60.0
_REPEATED = frozenset({"server_unreachable", "server_timeout", "server_error"})
_BROKEN = (
    http.client.HTTPException,
    ConnectionError,
    ssl.SSLError,
    socket.gaierror,
    OSError,
    # A host name that is none.
    UnicodeError,
)


class ServerFailure(Exception):
    """A call that gave no usable answer."""

    def __init__(self, code: FailureCode, detail: str, *, status: int | None = None) -> None:
        """Keep what went wrong; `detail` holds no header and no key."""
        super().__init__(f"{code}: {detail}")
        self.code: FailureCode = code
        self.detail = detail
        self.status = status
        self.wait_seconds: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long a call may take and how often it is repeated."""

    timeout_seconds: float = 120.0
    """For one attempt, from connecting to the last byte."""
    num_attempts: int = 5
    backoff_seconds: float = 0.5
    """Wait before the second attempt; it doubles with each further one, up to a minute."""


class JsonClient:
    """Calls one server; usable from several threads, with one connection each."""

    def __init__(
        self,
        base_url: str,
        *,
        api_key: str | None = None,
        patience: Patience | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Parse the address; nothing is sent yet.

        Args:
            base_url: `http://host:port/v1` or `https://...`.
            api_key: Sent as a bearer token; kept in memory only.
            patience: Limits of time and attempts.
            sleep: Waits between attempts.

        Raises:
            EvalError: The address is none, or holds a name or password (EVL070), or the key
                cannot be sent (EVL073).
        """
        try:
            parts = urlsplit(base_url.rstrip("/"))
        except ValueError:
            # What was raised holds the address, and so what may be a password in it.
            raise _bad_address(_without_secrets(base_url), "the host cannot be read") from None
        try:
            self._host, self._port = parts.hostname, parts.port
        except ValueError:
            raise _bad_address(_without_secrets(base_url), "the port is no number") from None
        if parts.scheme not in {"http", "https"} or not self._host:
            raise _bad_address(_without_secrets(base_url), "not an http or https address")
        if not _is_plain(parts.path) or " " in parts.path:
            raise _bad_address(_without_secrets(base_url), "only ASCII without blanks is a path")
        if parts.username is not None or parts.password is not None or parts.query:
            # The address itself would put the secret into messages.
            raise _bad_address(f"{parts.scheme}://{self._host}", "no user, password or query here")
        self._is_secure = parts.scheme == "https"
        self._path = parts.path
        # Keys out of files often end in a line feed.
        self._api_key = (api_key or "").strip()
        if not _is_plain(self._api_key):
            raise EvalError(
                "EVL073",
                "the server's key holds characters that cannot be sent, e.g. a line feed",
                where="OPENAI_API_KEY",
                hint="Set it anew, as one line of ASCII characters",
            )
        self._patience = patience or Patience()
        self._sleep = sleep
        self._local = threading.local()

    def get(self, path: str) -> dict[str, Any]:
        """Return the object behind `path`; failures as `post`."""
        return self._repeat("GET", path, None)

    def post(self, path: str, body: Mapping[str, Json]) -> dict[str, Any]:
        """Send an object and return the answer.

        Raises:
            ServerFailure: There is no usable answer after all attempts.
        """
        return self._repeat("POST", path, json.dumps(body).encode())

    def _repeat(self, method: str, path: str, body: bytes | None) -> dict[str, Any]:
        wait = self._patience.backoff_seconds
        for attempt in range(1, self._patience.num_attempts + 1):
            try:
                return self._once(method, path, body)
            except ServerFailure as failure:
                if failure.code not in _REPEATED or attempt == self._patience.num_attempts:
                    raise
                asked = failure.wait_seconds or 0.0
            # Spread out, so that all threads do not come back at once.
            self._sleep(min(_MAX_WAIT_SECONDS, max(asked, wait * random.uniform(0.5, 1.5))))
            wait *= 2
        raise AssertionError("num_attempts is at least 1")

    def _once(self, method: str, path: str, body: bytes | None) -> dict[str, Any]:
        deadline = time.monotonic() + self._patience.timeout_seconds
        connection = self._connection()
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if self._api_key:
            headers["Authorization"] = f"Bearer {self._api_key}"
        try:
            connection.request(method, self._path + path, body=body, headers=headers)
            response = connection.getresponse()
            content = _read(response, deadline)
        except TimeoutError as error:
            self._close()
            limit = self._patience.timeout_seconds
            raise ServerFailure("server_timeout", f"no answer in {limit:g} s") from error
        except ServerFailure:
            self._close()
            raise
        except _BROKEN as error:
            self._close()
            raise ServerFailure("server_unreachable", type(error).__name__) from error
        if response.status != http.HTTPStatus.OK:
            self._close()
            raise _http_failure(response, content)
        return _object(content)

    def _connection(self) -> http.client.HTTPConnection:
        """Return this thread's connection."""
        known: http.client.HTTPConnection | None = getattr(self._local, "connection", None)
        if known is None:
            kind = http.client.HTTPSConnection if self._is_secure else http.client.HTTPConnection
            assert self._host is not None
            known = kind(self._host, self._port, timeout=self._patience.timeout_seconds)
            self._local.connection = known
        return known

    def _close(self) -> None:
        known: http.client.HTTPConnection | None = getattr(self._local, "connection", None)
        if known is not None:
            known.close()
        self._local.connection = None


def _read(response: http.client.HTTPResponse, deadline: float) -> bytes:
    """Return the body; a server that sends byte by byte runs into the deadline."""
    parts: list[bytes] = []
    size = 0
    while chunk := response.read1(_CHUNK):
        parts.append(chunk)
        size += len(chunk)
        if size > MAX_RESPONSE_BYTES:
            raise ServerFailure("server_garbage", f"more than {MAX_RESPONSE_BYTES} bytes")
        if time.monotonic() > deadline:
            raise TimeoutError
    if response.length:
        raise http.client.IncompleteRead(b"", response.length)
    # The connection can be used again only after the end was read.
    response.read()
    return b"".join(parts)


def _http_failure(response: http.client.HTTPResponse, content: bytes) -> ServerFailure:
    words = " ".join(content[:200].decode("utf-8", "replace").split())
    # It goes to a terminal, which must not obey a server.
    excerpt = "".join(sign if sign.isprintable() else "\ufffd" for sign in words)
    again = response.status == http.HTTPStatus.TOO_MANY_REQUESTS or response.status >= 500
    failure = ServerFailure(
        "server_error" if again else "server_refused",
        f"HTTP {response.status} {excerpt}",
        status=response.status,
    )
    asked = response.headers.get("Retry-After", "")
    if asked.isascii() and asked.isdigit():
        failure.wait_seconds = float(asked)
    return failure


def _object(content: bytes) -> dict[str, Any]:
    try:
        value = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ServerFailure("server_garbage", "the answer is not JSON") from error
    if not isinstance(value, dict):
        raise ServerFailure("server_garbage", "the answer is no JSON object")
    return value


def _is_plain(text: str) -> bool:
    return text.isascii() and text.isprintable()


def _without_secrets(url: str) -> str:
    """Return an address without user, password and query, also where it cannot be parsed."""
    return re.sub(r"^(\w+://)?.*@", r"\1", url).partition("?")[0]


def _bad_address(shown: str, reason: str) -> EvalError:
    return EvalError(
        "EVL070",
        f"not the address of a server: {reason}",
        where=shown,
        hint="Give e.g. http://localhost:8000/v1, and the key in the environment",
    )
