"""Rules of our own: SQL and command injection in added lines, and files that steer machines or agents.

A line is critical where outside input goes straight into a statement or a command; elsewhere a person decides.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

_OUTSIDE = r"(?:request\s?\.|req\s?\.(?:query|body|params)|params\[|\$_(?:GET|POST|REQUEST|COOKIE)|\binput\(|sys\.argv)"
_SQL = r"(?:SELECT\b.{1,200}\bFROM|INSERT\s+INTO|UPDATE\b.{1,200}\bSET|DELETE\s+FROM|DROP\s+TABLE)\b"
_CALL = r"(?:execute|executemany|executescript|query|raw|exec_driver_sql|mysqli_query|prepare)\s?\("
_RUN = r"(?:os\.system|os\.popen|subprocess\.getoutput|commands\.getoutput|popen2?)\s?\("
_SUBPROCESS = r"subprocess\.(?:run|call|check_call|check_output|Popen)\s?\("
_NODE = r"(?:child_process\.|\b)(?:exec|execSync)\s?\("
_CODE = re.compile(r"\.(py|pyi|js|jsx|ts|tsx|mjs|cjs|php|rb|go|java|kt|cs|pl|sh|vue|svelte|ipynb)$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Rule:
    name: str
    text: str
    critical: bool
    pattern: re.Pattern[str]


def _rule(name: str, text: str, pattern: str, *, critical: bool = False) -> Rule:
    return Rule(name, text, critical, re.compile(pattern, re.IGNORECASE))


RULES = (
    _rule(
        "injection.sql-input", "outside input inside an SQL statement", rf"{_SQL}.{{0,300}}{_OUTSIDE}", critical=True
    ),
    _rule("injection.sql-fstring", "SQL built by an f-string", rf"{_CALL}\s?f[\"'].{{0,200}}{_SQL}.{{0,300}}\{{"),
    _rule("injection.sql-template", "SQL built by a template literal", rf"{_CALL}\s?`.{{0,200}}{_SQL}.{{0,300}}\$\{{"),
    _rule(
        "injection.sql-concat",
        "SQL built by joining or formatting strings",
        rf"{_CALL}\s?[\"'].{{0,200}}{_SQL}.{{0,300}}[\"']\s?(?:\+|%(?!s)|\.format\(|\.\s?\$)",
    ),
    _rule(
        "injection.command-input",
        "outside input inside a shell command",
        rf"(?:{_RUN}|{_NODE}|(?:shell_exec|passthru|system)\s?\().{{0,300}}{_OUTSIDE}",
        critical=True,
    ),
    _rule(
        "injection.command-input",
        "outside input inside a shell command",
        rf"{_SUBPROCESS}.{{0,300}}{_OUTSIDE}.{{0,200}}shell\s?=\s?True",
        critical=True,
    ),
    _rule("injection.eval-input", "outside input is evaluated", rf"\b(?:eval|exec)\s?\(\s?{_OUTSIDE}", critical=True),
    _rule(
        "injection.command",
        "shell command built from parts",
        rf"{_RUN}\s?(?:f[\"'].{{0,300}}\{{|[\"'].{{0,300}}[\"']\s?(?:\+|%|\.format))",
    ),
    _rule(
        "injection.command-shell",
        "shell=True with a built command",
        rf"{_SUBPROCESS}\s?f[\"'].{{0,300}}\{{.{{0,300}}shell\s?=\s?True",
    ),
    _rule("injection.command-node", "shell command built from parts", rf"{_NODE}\s?`.{{0,300}}\$\{{"),
)

_STEERING = (
    (
        "ci",
        "changes what CI runs",
        re.compile(
            r"(^|/)(\.github/(workflows|actions)/|\.gitea/workflows/|\.forgejo/|\.circleci/|\.buildkite/|\.woodpecker"
            r"|\.gitlab-ci|\.travis\.yml|\.drone\.yml|azure-pipelines|bitbucket-pipelines|appveyor\.yml|jenkinsfile|\.ci/)",
            re.IGNORECASE,
        ),
    ),
    (
        "agent-config",
        "changes what agents or editors do",
        re.compile(
            r"(^|/)(\.claude/|claude\.md|agents\.md|\.mcp\.json|\.cursor|\.vscode/|\.devcontainer|\.idea/)",
            re.IGNORECASE,
        ),
    ),
    (
        "git-config",
        "changes what git does on checkout or commit",
        re.compile(
            r"(^|/)(\.gitmodules|\.gitattributes|\.githooks/|\.husky/|\.pre-commit-config\.yaml|\.lfsconfig)",
            re.IGNORECASE,
        ),
    ),
)


def matching(path: str, line: str) -> Iterator[Rule]:
    """Rules that a line of code breaks; prose and data are not code."""
    if _CODE.search(path):
        yield from (rule for rule in RULES if rule.pattern.search(line))


def steering(path: str) -> Iterator[tuple[str, str]]:
    """Name and text of each reason to look twice at a change of this file."""
    for name, text, pattern in _STEERING:
        if pattern.search(path):
            yield f"path.{name}", text
