"""A Messages API in miniature: answers what it was given, in turn, and keeps the requests.

Answers are built from, and requests checked against, the published types of the `anthropic` package.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from anthropic.types import Message
from anthropic.types.message_create_params import MessageCreateParamsNonStreaming
from pydantic import ConfigDict, TypeAdapter, with_config

_REQUEST = TypeAdapter(with_config(ConfigDict(arbitrary_types_allowed=True))(MessageCreateParamsNonStreaming))


@dataclass(frozen=True, slots=True)
class Refusal:
    """An answer that is no message."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)


def text(words: str) -> dict[str, Any]:
    return {"type": "text", "text": words}


def tool_use(ident: str, name: str, /, **given: Any) -> dict[str, Any]:
    return {"type": "tool_use", "id": ident, "name": name, "input": given}


def message(*content: Mapping[str, Any], stop: str = "end_turn", tokens: int = 10) -> Message:
    """What Claude says in one turn."""
    fields = {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-test", "stop_sequence": None}
    usage = {"input_tokens": tokens, "output_tokens": 5}
    return Message.model_validate({**fields, "content": list(content), "stop_reason": stop, "usage": usage})


@dataclass(slots=True)
class Messages:
    """`requests` are the bodies so far, `headers` of the same."""

    url: str
    answers: list[Message | Refusal]
    requests: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)

    def take(self, path: str, headers: Mapping[str, str], body: bytes) -> Message | Refusal:
        assert path == "/anthropic/v1/messages", path
        request = json.loads(body)
        self.requests.append(request)
        self.headers.append({name.lower(): value for name, value in headers.items()})
        _REQUEST.validate_python(request)
        return self.answers.pop(0)


@contextmanager
def messages_server(answers: Sequence[Message | Refusal]) -> Iterator[Messages]:
    """Serves on loopback until the end of the block. A request that is none, or one too many, gets 500."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            answer = fake.take(self.path, dict(self.headers.items()), body)
            status, headers = (200, {}) if isinstance(answer, Message) else (answer.status, answer.headers)
            data = answer.model_dump_json().encode() if isinstance(answer, Message) else b'{"type": "error"}'
            self.send_response(status)
            for name, value in {**headers, "content-length": str(len(data))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_arguments: object) -> None:
            """Tests print what matters."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    fake = Messages(f"http://127.0.0.1:{server.server_port}/anthropic", list(answers))
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield fake
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
