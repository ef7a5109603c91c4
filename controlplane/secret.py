"""Secrets: checked together at start, read again on SIGHUP, never printed.

SWARM_NAME in the environment, or SWARM_NAME_FILE with the path of a file that holds it, as container platforms mount
them; or either in an env file. The environment wins.
"""

from __future__ import annotations

import hmac
import logging
import stat
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NoReturn
from urllib.parse import unquote, urlsplit

from dotenv import dotenv_values

from controlplane.domain.audit import Seals
from controlplane.errors import StartError
from telemetry.redaction import keep_secret

log = logging.getLogger(__name__)

PREFIX: Final = "SWARM_"
FILE: Final = "_FILE"
MOST_BYTES: Final = 64 << 10


class Secret:
    """Shows what it holds to `reveal` only."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        return self._value

    def __repr__(self) -> str:
        return "Secret([redacted])"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and hmac.compare_digest(self._value.encode(), other._value.encode())

    def __hash__(self) -> int:
        return hash(Secret)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret is not written anywhere")


@dataclass(frozen=True, slots=True)
class Kind:
    """What a secret is for, and what raises `ValueError` or `StartError` saying what it must be.

    `needs` are settings without which it is of no use.
    """

    help: str
    check: Callable[[str], object] = str
    needs: tuple[str, ...] = ()


def words(text: str) -> list[str]:
    """Several values in one secret: one a line, or with commas."""
    return [found for part in text.replace(",", "\n").splitlines() if (found := part.strip())]


def redis_url(text: str) -> str:
    if urlsplit(text).scheme not in {"redis", "rediss", "unix"}:
        raise ValueError("must be a URL such as redis://:password@host:6379/0")
    return text


def smtp_url(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in {"smtp", "smtps"} or not parts.hostname or parts.path.strip("/") or parts.query:
        raise ValueError("must be a URL such as smtp://user:password@mail.example.org:587")
    _ = parts.port  # raises for one that is no number
    return text


def plain(text: str) -> str:
    if not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError("must be one word of ASCII")
    return text


KINDS: Final[Mapping[str, Kind]] = {
    "AUDIT_KEY": Kind("keys of the audit log, the one that seals last", lambda text: Seals.of(words(text))),
    "REDIS_URL": Kind("Redis that replicas share rate limits in", redis_url),
    "SMTP_URL": Kind(
        "mail server, smtp://[USER:PASSWORD@]HOST[:PORT] or smtps://", smtp_url, ("smtp_from", "http_url")
    ),
    "GITHUB_CLIENT_SECRET": Kind(
        "of the OAuth app with which people log in", plain, ("github_client_id", "github_redirect_url")
    ),
}


class Secrets:
    """The secrets of one process. `get` answers what was read last. `unset` are the settings that say nothing."""

    def __init__(
        self,
        environment: Mapping[str, str],
        env_file: Path | None = None,
        *,
        required: Iterable[str] = (),
        unset: Collection[str] = (),
        kinds: Mapping[str, Kind] = KINDS,
    ) -> None:
        self._environment = environment
        self._env_file = env_file
        self._required = tuple(dict.fromkeys(required))
        self._unset = frozenset(unset)
        self._kinds = kinds
        self._found: dict[str, Secret] = {}
        self._takers: list[Callable[[frozenset[str]], None]] = []

    def load(self) -> None:
        """`StartError` with everything that is wrong with any of them."""
        found, faults = self._read()
        if faults:
            raise StartError("; ".join(faults), reason="bad_secrets")
        self._found = found

    def get(self, name: str) -> Secret | None:
        if name not in self._kinds:
            raise KeyError(name)
        return self._found.get(name)

    def expect(self, name: str) -> Secret:
        """One of those without which nothing starts."""
        return self._found[name]

    def on_change(self, take: Callable[[frozenset[str]], None]) -> None:
        """Has `take` called after each `reload` without fault, with the names of what changed.

        Its `StartError` says why it keeps what it had.
        """
        self._takers.append(take)

    def reload(self) -> None:
        """Reads all again. With any fault everything stays as it is, and the log says why."""
        found, faults = self._read()
        if faults:
            log.error("secrets stay as they were: %s", "; ".join(faults))
            return
        changed = frozenset(name for name in self._kinds if found.get(name) != self._found.get(name))
        self._found = found
        log.info("secrets were read again", extra={"changed": sorted(changed)})
        for take in self._takers:
            try:
                take(changed)
            except StartError as fault:
                log.error("a new secret is not taken: %s", fault.message)  # noqa: TRY400 - what is wrong is in it

    def _read(self) -> tuple[dict[str, Secret], list[str]]:
        faults: list[str] = []
        try:
            named = env_file(self._env_file) | dict(self._environment)
        except ValueError as fault:
            return {}, [str(fault)]
        found = {}
        for name, kind in self._kinds.items():
            try:
                if value := value_of(PREFIX + name, named):
                    hide(value)
                    kind.check(value)
                    self._expect(kind.needs)
                    found[name] = Secret(value)
            except (ValueError, StartError) as fault:
                faults.append(f"{PREFIX}{name}: {fault}")
        missing = [name for name in self._required if name not in found]
        faults += [f"{PREFIX}{name}: it is required and missing" for name in missing if name in self._kinds]
        faults += [f"{name}: there is no such secret" for name in missing if name not in self._kinds]
        return found, faults

    def _expect(self, needs: Iterable[str]) -> None:
        if missing := [name for name in needs if name in self._unset]:
            raise ValueError(f"it needs {' and '.join(missing)}")


def hide(value: str) -> None:
    """Blanks it in all logs; of a URL the password, the rest of it tells what is wrong with a server."""
    if "://" not in value:
        for word in words(value):
            keep_secret(word)
        return
    password = urlsplit(value).password or ""
    keep_secret(password)
    keep_secret(unquote(password))


def env_file(path: Path | None) -> dict[str, str]:
    """What an env file names; `ValueError` for one that others can read. Without a file: nothing."""
    if path is None or not path.exists():
        return {}
    if stat.S_IMODE(path.stat().st_mode) & 0o077:
        raise ValueError(f"{path} can be read by others; run: chmod 600 {path}")
    return {name: value for name, value in dotenv_values(path, interpolate=False).items() if value is not None}


def value_of(name: str, named: Mapping[str, str]) -> str:
    """The value, empty when it is not set; `ValueError` where it cannot be read or is given twice."""
    file, value = named.get(name + FILE, ""), named.get(name, "")
    if not file:
        return value.strip()
    if value:
        raise ValueError(f"give it or {name}{FILE}, not both")
    try:
        with Path(file).open(encoding="utf-8") as content:
            found = content.read(MOST_BYTES).strip()
    except (OSError, UnicodeDecodeError) as fault:
        raise ValueError(f"{name}{FILE} cannot be read: {getattr(fault, 'strerror', 'it is no text')}") from None
    if not found:
        raise ValueError(f"{file} is empty")
    return found
