"""Looks through the lines that a push adds: secrets, injection, files that steer machines. Pure.

It finds what is done by mistake or in the open; it is no proof that nothing is hidden.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from hostd.git import rules, secrets
from hostd.git.patch import Added, Touched, read

FINDINGS_LIMIT = 200
_LINE_LIMIT = 4096
_OVERLAP = 512
_WIDE = re.compile(r"[^\x20-\x7e]")


class Severity(StrEnum):
    """`CRITICAL` refuses a push; the others are shown with the pull request."""

    CRITICAL = "critical"
    WARNING = "warning"
    NOTICE = "notice"


@dataclass(frozen=True, slots=True)
class Finding:
    """`line` is 0 when the file as a whole is meant. The text never quotes what was found."""

    severity: Severity
    rule: str
    path: str
    line: int
    text: str

    def __str__(self) -> str:
        place = f"{self.path}:{self.line}" if self.line else self.path
        return f"{self.severity} {self.rule} {place} {self.text}"


def refuses(finding: Finding) -> bool:
    """Whether it refuses the push."""
    return finding.severity is Severity.CRITICAL


def scan(patch: bytes) -> list[Finding]:
    """Findings in the output of ``git log --patch --unified=0``, the critical first, each once."""
    kept: dict[Severity, dict[tuple[str, str, int], Finding]] = {severity: {} for severity in Severity}
    for item in read(patch):
        for finding in _touched(item) if isinstance(item, Touched) else _added(item):
            alike = kept[finding.severity]
            if len(alike) < FINDINGS_LIMIT:
                alike.setdefault((finding.rule, finding.path, finding.line), finding)
        if len(kept[Severity.CRITICAL]) >= FINDINGS_LIMIT:
            break
    found = [finding for alike in kept.values() for finding in sorted(alike.values(), key=lambda f: (f.path, f.line))]
    return found[:FINDINGS_LIMIT]


def _touched(item: Touched) -> Iterator[Finding]:
    for name, text in rules.steering(item.path):
        yield Finding(Severity.NOTICE, name, _plain(item.path), 0, text)


def _added(item: Added) -> Iterator[Finding]:
    binary = "\0" in item.text  # or UTF-16, in which a secret is one all the same
    for part in _parts(item.text.replace("\0", "")):
        for name, text, certain in secrets.find(part):
            if certain or not binary:
                severity = Severity.CRITICAL if certain else Severity.WARNING
                yield Finding(severity, name, _plain(item.path), item.line, text)
        for rule in () if binary else rules.matching(item.path, part):
            severity = Severity.CRITICAL if rule.critical else Severity.WARNING
            yield Finding(severity, rule.name, _plain(item.path), item.line, rule.text)


def _parts(line: str) -> Iterator[str]:
    """A long line in pieces that overlap, so that each is searched in bounded time and nothing hides at a seam."""
    for at in range(0, max(len(line) - _OVERLAP, 1), _LINE_LIMIT - _OVERLAP):
        yield line[at : at + _LINE_LIMIT]


def _plain(path: str) -> str:
    return _WIDE.sub("?", path)[:200]
