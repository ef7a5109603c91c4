"""What a guest is told when it asks for something that it does not get."""

from __future__ import annotations

_CODES = {
    400: "INVALID_ARGUMENT",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    405: "UNIMPLEMENTED",
    408: "DEADLINE_EXCEEDED",
    409: "FAILED_PRECONDITION",
    411: "INVALID_ARGUMENT",
    413: "OUT_OF_RANGE",
    414: "OUT_OF_RANGE",
    415: "INVALID_ARGUMENT",
    429: "RESOURCE_EXHAUSTED",
    431: "OUT_OF_RANGE",
    500: "INTERNAL",
    503: "UNAVAILABLE",
}
_INNOCENT = (408, 429, 500, 503)


class Refusal(Exception):
    """Ends a request with `status`; `rule` names a denied call, which is reported as "rule, target"."""

    def __init__(self, status: int, message: str, *, rule: str = "", target: str = "", close: bool = False) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.rule = rule
        self.target = target
        self.close = close or status in (400, 408, 411, 413, 414, 431)

    @property
    def code(self) -> str:
        """Canonical name beside the status."""
        return _CODES[self.status]

    @property
    def is_violation(self) -> bool:
        """Whether it counts towards the end of the VM; being too fast does not."""
        return self.status not in _INNOCENT
