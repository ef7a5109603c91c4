"""One JSON object a line on stderr: `time`, `level`, `logger`, `message`, whose work it is, and further fields."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable, Mapping, MutableMapping
from contextlib import suppress
from contextvars import ContextVar
from types import MappingProxyType
from typing import Any, Final, TextIO

import structlog
from structlog.stdlib import ExtraAdder, ProcessorFormatter, add_log_level, add_logger_name
from structlog.typing import FilteringBoundLogger, Processor

from telemetry.redaction import BLANK, is_secret, redact, redact_text

FIRST: Final = ("time", "level", "logger")
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
    stamp = structlog.processors.TimeStamper(fmt="iso", key="time")
    render = Render(fixed)
    fill: list[Processor] = [add_log_level, stamp]
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        ProcessorFormatter(
            foreign_pre_chain=[add_logger_name, *fill, ExtraAdder()],
            processors=[ProcessorFormatter.remove_processors_meta, structlog.processors.format_exc_info, render],
        )
    )
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.getLogger("asyncio").setLevel(max(logging.WARNING, logging.root.level))
    structlog.configure(
        processors=[*fill, structlog.processors.format_exc_info, render],
        wrapper_class=structlog.make_filtering_bound_logger(logging.root.level),
        logger_factory=lambda *_: Output(sys.stderr),
        cache_logger_on_first_use=True,
    )


def lines(name: str) -> FilteringBoundLogger:
    """A logger for what is said with every call: it takes a quarter of the time that one of `logging` takes."""
    found: FilteringBoundLogger = structlog.get_logger(**{SOURCE: name})
    return found


class Output:
    """Writes lines while there is room for them: what is told of work never ends it, as `logging` has it too."""

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def info(self, line: str) -> None:
        with suppress(OSError):
            self._file.write(f"{line}\n")
            self._file.flush()

    debug = warning = error = critical = info


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
            if isinstance(value, dict | list | tuple):
                line[name] = redact(value, name)
            else:
                line[name] = BLANK if isinstance(value, str) and is_secret(name) else value
        return redact_text(_encode(line))


# Until `set_up` only `logging` is heard, so that programs which import a part of ours print nothing.
structlog.configure(processors=[], wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
