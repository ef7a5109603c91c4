"""How an attempt fails."""

from __future__ import annotations


class Failure(Exception):
    """`phase` is prepare, agent, tests or push; the text is the outcome's summary.

    `cause` says why, where that is known better than by the phase.
    """

    def __init__(self, phase: str, summary: str, exit_code: int = 1, cause: str = "") -> None:
        super().__init__(summary)
        self.phase = phase
        self.exit_code = exit_code
        self.cause = cause
