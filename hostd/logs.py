"""JSON lines on stderr, with known secrets and secret-looking values blanked out."""

from __future__ import annotations

import json
import logging
import re
import sys
from datetime import UTC, datetime

BLANK = "[redacted]"
SECRET_KEY = re.compile(r"token|secret|password|passphrase|authorization|api_?key|credential", re.IGNORECASE)
SECRET_TEXT = (
    # Both stop before a quote, because they look at encoded JSON.
    re.compile(r"(?i)(?<=bearer )[^\s\"\\]+"),
    re.compile(r"(?<=://)[^\s/@\"\\]+(?=@)"),
)
PLAIN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class Redactor:
    """Blanks exact secrets once they are known, and patterns always."""

    def __init__(self) -> None:
        self._secrets: set[str] = set()

    def add(self, secret: str) -> None:
        if len(secret) >= 8:  # noqa: PLR2004  # anything shorter would blank ordinary words
            self._secrets.add(secret)

    def text(self, value: str) -> str:
        for secret in self._secrets:
            value = value.replace(secret, BLANK)
        for pattern in SECRET_TEXT:
            value = pattern.sub(BLANK, value)
        return value


REDACTOR = Redactor()


class JsonFormatter(logging.Formatter):
    """Fields of `extra` become members; an exception becomes one `error` member with its trace."""

    def __init__(self, instance: str) -> None:
        super().__init__()
        self._instance = instance

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "instance": self._instance,
            "message": record.getMessage(),
        }
        for key, value in vars(record).items():
            if key not in PLAIN:
                line[key] = BLANK if SECRET_KEY.search(key) else value
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return REDACTOR.text(json.dumps(line, default=str, ensure_ascii=False))


def setup(level: str, instance: str) -> None:
    """Send all logging to stderr as JSON lines."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter(instance))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.getLogger("asyncio").setLevel(logging.WARNING)
