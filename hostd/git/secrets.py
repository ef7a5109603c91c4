"""Secrets in one line of text, by the detectors of detect-secrets and a few of our own."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import cache
from typing import Protocol

from detect_secrets.core.plugins.util import get_mapping_from_secret_type_to_class

_CERTAIN = (
    "AWS Access Key",
    "Artifactory Credentials",
    "Azure Storage Account access key",
    "Discord Bot Token",
    "GitHub Token",
    "GitLab Token",
    "Mailchimp Access Key",
    "NPM tokens",
    "OpenAI Token",
    "Private Key",
    "PyPI Token",
    "SendGrid API Key",
    "Slack Token",
    "Square OAuth Secret",
    "Stripe Access Key",
    "Telegram Bot Token",
    "Twilio API Key",
)
_LIKELY = ("Basic Auth Credentials", "JSON Web Token", "Secret Keyword")
_OWN = {
    "Anthropic API Key": re.compile(r"\bsk-ant-[A-Za-z0-9]{2,10}-[A-Za-z0-9_-]{20,200}"),
    "Google API Key": re.compile(r"\bAIza[0-9A-Za-z_-]{35}\b"),
    "GitHub Fine-grained Token": re.compile(r"\bgithub_pat_[0-9A-Za-z_]{60,100}"),
    "Swarm API Key": re.compile(r"\bswm_[a-z]{1,12}_[0-9A-Za-z]{30}_[0-9A-Za-z]{6}\b"),
}
_KEYWORD = re.compile(r"pass|pwd|secret|token|key|auth|cred", re.IGNORECASE)
_PLACEHOLDER = re.compile(
    r"example|placeholder|change.?me|your[-_ ]|dummy|<[a-z_ -]+>|\$\{|\{\{|xxxx|environ|getenv|process\.env|config\[",
    re.IGNORECASE,
)


class _Detector(Protocol):
    def analyze_line(self, filename: str, line: str, line_number: int) -> set[object]: ...


@cache
def _detectors() -> tuple[tuple[str, _Detector, bool], ...]:
    """Name, detector, and whether a hit is certain. Entropy and IP detectors are left out: too often wrong in code."""
    known: dict[str, Callable[[], _Detector]] = dict(get_mapping_from_secret_type_to_class())
    names = [(name, True) for name in _CERTAIN] + [(name, False) for name in _LIKELY]
    return tuple((name, known[name](), certain) for name, certain in names)


def find(line: str) -> Iterator[tuple[str, str, bool]]:
    """Rule, text and certainty of every secret in a line."""
    for name, pattern in _OWN.items():
        if pattern.search(line):
            yield _rule(name), name, True
    for name, detector, certain in _detectors():
        if not certain and (_PLACEHOLDER.search(line) or (name == "Secret Keyword" and not _KEYWORD.search(line))):
            continue
        if detector.analyze_line("line", line, 1):
            yield _rule(name), name, certain


def preload() -> None:
    """Load the detectors, which read files of their package."""
    _detectors()


def _rule(name: str) -> str:
    return "secret." + re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
