"""A server on this machine that answers as an OpenAI-compatible one does, or as a broken one."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = tuple[int, bytes]
"""Status and body."""


@dataclass
class Loopback:
    """What a test tells the server to do, and what the server saw."""

    answer: Callable[[str, dict[str, Any]], Answer]
    """(path, request) -> status and body."""
    url: str = ""
    headers: list[dict[str, str]] = field(default_factory=list)
    requests: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    num_open: int = 0
    most_open: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)


@contextlib.contextmanager
def serve(answer: Callable[[str, dict[str, Any]], Answer]) -> Iterator[Loopback]:
    """Run a server for the length of a `with` block."""
    state = Loopback(answer)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            self.reply({})

        def do_POST(self):
            self.reply(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

        def reply(self, body):
            with state.lock:
                state.headers.append(dict(self.headers))
                state.requests.append((self.path, body))
                state.num_open += 1
                state.most_open = max(state.most_open, state.num_open)
            try:
                status, content = state.answer(self.path, body)
            finally:
                with state.lock:
                    state.num_open -= 1
            with contextlib.suppress(OSError):
                self.send_response(status)
                self.send_header("Content-Length", str(len(content)))
                if status == 302:
                    self.send_header("Location", f"{state.url}/elsewhere")
                self.end_headers()
                self.wfile.write(content)

        def log_message(self, *_):
            pass

    class Server(ThreadingHTTPServer):
        request_queue_size = 64
        daemon_threads = True

        def handle_error(self, *_):
            """Say nothing: clients that gave up are wanted here."""

    server = Server(("127.0.0.1", 0), Handler)
    state.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


def completion(text: str | None, *, calls: list[tuple[str, str]] | None = None, **extra) -> Answer:
    message: dict[str, Any] = {"role": "assistant", "content": text}
    if calls is not None:
        message["tool_calls"] = [
            {"id": str(place), "type": "function", "function": {"name": name, "arguments": given}}
            for place, (name, given) in enumerate(calls)
        ]
    choice = {"index": 0, "message": message, "finish_reason": "stop"} | extra
    return 200, json.dumps({"choices": [choice]}).encode()
