"""One JSON object a line on stderr: `time`, `level`, `logger`, `message`, whose work it is, and further fields."""

from __future__ import annotations

import asyncio
import atexit
import json
import logging
import sys
from collections import deque
from collections.abc import Callable, Mapping, MutableMapping
from contextlib import suppress
from contextvars import ContextVar
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, Final, TextIO

import structlog
from structlog.stdlib import ExtraAdder, ProcessorFormatter, add_logger_name
from structlog.typing import FilteringBoundLogger

from telemetry.redaction import BLANK, is_secret, redact, redact_text

FIRST: Final = ("time", "level", "logger")
NESTED: Final = (dict, list, tuple)
SOURCE: Final = "logger_name"  # structlog takes no initial value that is called "logger"

Line = MutableMapping[str, Any]

_context: ContextVar[Mapping[str, Any]] = ContextVar("log_context", default=MappingProxyType({}))


def _encoder() -> Callable[[object], str]:
    """The C encoder, made once: each call of json's own makes one. Without it, json's own."""
    plain = json.JSONEncoder(ensure_ascii=False, default=str, check_circular=False)
    make = getattr(json.encoder, "c_make_encoder", None)
    if make is None:
        return plain.encode
    write = make(None, str, json.encoder.encode_basestring, None, ": ", ", ", False, False, True)  # noqa: FBT003 - its own order
    return lambda value: "".join(write(value, 0))


_encode: Final = _encoder()


def bind(**fields: Any) -> None:
    """Every line of the present task and of those that it starts has these too; empty ones are left out."""
    _context.set({**_context.get(), **{name: value for name, value in fields.items() if value}})


def begin(**fields: Any) -> None:
    """The same, without what was said before: another piece of work begins."""
    _context.set(fields)


def set_up(level: str, **fixed: Any) -> None:
    """Sends all logging of the process to stderr; `fixed` is in each line."""
    render = Render(fixed)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        ProcessorFormatter(
            foreign_pre_chain=[add_logger_name, stamped, ExtraAdder()],
            processors=[ProcessorFormatter.remove_processors_meta, structlog.processors.format_exc_info, render],
        )
    )
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.getLogger("asyncio").setLevel(max(logging.WARNING, logging.root.level))
    structlog.configure(
        processors=[stamped, structlog.processors.format_exc_info, render],
        wrapper_class=structlog.make_filtering_bound_logger(logging.root.level),
        logger_factory=lambda *_: Output(sys.stderr),
        cache_logger_on_first_use=True,
    )


def lines(name: str) -> FilteringBoundLogger:
    """A logger for what is said with every call: it takes a quarter of the time that one of `logging` takes."""
    found: FilteringBoundLogger = structlog.get_logger(**{SOURCE: name})
    return found


def stamped(_logger: Any, method: str, event: Line) -> Line:
    """When, and how grave."""
    event["level"] = method
    event["time"] = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    return event


class Output:
    """Writes lines while there is room for them: what is told of work never ends it, as `logging` has it too.

    What is said within one turn of an event loop is written at its end, at once: each write gives the interpreter to
    other threads, and getting it back takes longer than the write. Warnings and errors do not wait.
    """

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._lines: deque[str] = deque()
        self._due: asyncio.AbstractEventLoop | None = None  # that will write them
        atexit.register(self._write)

    def info(self, line: str) -> None:
        self._lines.append(line)
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self._write()
            return
        if self._due is not loop:
            self._due = loop
            loop.call_soon(self._write)

    def error(self, line: str) -> None:
        self._lines.append(line)
        self._write()

    debug = info
    warning = critical = error

    def _write(self) -> None:
        """Everything that waits; from any thread."""
        self._due = None
        found = []
        with suppress(IndexError):
            while True:
                found.append(self._lines.popleft())
        if found:
            with suppress(OSError, ValueError):  # it may be closed at the end of the process
                self._file.write("\n".join((*found, "")))
                self._file.flush()


class Render:
    """The last processor: the line as text, without a secret."""

    def __init__(self, fixed: Mapping[str, Any]) -> None:
        self._fixed = fixed

    def __call__(self, _logger: Any, _method: str, event: Line) -> str:
        if source := event.pop(SOURCE, None):
            event["logger"] = source
        line: dict[str, Any] = {name: event.pop(name) for name in FIRST if name in event}
        line |= self._fixed
        line["message"] = event.pop("event")
        line |= _context.get()
        if trace := event.pop("exception", None):
            event["trace"] = trace
        for name, value in event.items():
            # Nested values are rare; of plain ones the whole line is looked through at once.
            if isinstance(value, NESTED):
                line[name] = redact(value, name)
            else:
                line[name] = BLANK if isinstance(value, str) and is_secret(name) else value
        return redact_text(_encode(line))


# Until `set_up` only `logging` is heard, so that programs which import a part of ours print nothing.
structlog.configure(processors=[], wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
