"""JSON lines on stderr, with the request id of the call that a line belongs to and without secrets."""

from __future__ import annotations

import json
import logging
import re
import sys
import time
from contextvars import ContextVar
from typing import Any, Final

request_id: ContextVar[str] = ContextVar("request_id", default="")

REDACTED: Final = "[redacted]"
_SECRETS: Final = re.compile(
    r"(?i)(?<=bearer )\S+"
    r"|swm_[a-z]+_[A-Za-z0-9_-]+"
    r"|sk-ant-[A-Za-z0-9_-]+"
    r"|gh[pousr]_[A-Za-z0-9]{20,}"
    r"|(?<=://)[^/@\s:]*:[^/@\s]+(?=@)"
)
_NAMES: Final = re.compile(r"(?i)token|secret|password|authorization|credential|cookie")
_STANDARD: Final = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}


def redact(value: Any, name: str = "") -> Any:
    """The value with everything that looks like a credential taken out, and nothing of what is named like one."""
    if name and _NAMES.search(name):
        return REDACTED
    if isinstance(value, str):
        return _SECRETS.sub(REDACTED, value)
    if isinstance(value, dict):
        return {key: redact(each, str(key)) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [redact(each) for each in value]
    return value


class JsonLines(logging.Formatter):
    """One object per line; what a call gives as `extra` are further fields."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if known := request_id.get():
            line["request_id"] = known
        line |= {key: value for key, value in record.__dict__.items() if key not in _STANDARD}
        if record.exc_info:
            line["trace"] = self.formatException(record.exc_info)
        return json.dumps(redact(line), default=str, ensure_ascii=False)


def set_up(level: str) -> None:
    """Sends all logging of the process to stderr as JSON lines."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
