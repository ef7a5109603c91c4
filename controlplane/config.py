"""How a control plane is configured: flags, then SWARM_CONTROLPLANE_* variables, then a TOML file, then defaults.

All faults are reported together, in one line each.
"""

from __future__ import annotations

import argparse
import difflib
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_network
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from controlplane.domain.retry import RETRIES, RetryTimes
from controlplane.errors import StartError

PREFIX: Final = "SWARM_CONTROLPLANE_"
LEVELS: Final = ("debug", "info", "warning", "error")
SOCKET: Final = "controlplane.sock"
HTTP: Final = "127.0.0.1:0"
LONGEST_DELAY_S: Final = 3600


def path(value: Any) -> Path:
    if not isinstance(value, str) or not value or "\0" in value:
        raise ValueError("must be a path")
    return Path(value).absolute()


def switch(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    words = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}
    if str(value).lower() not in words:
        raise ValueError("must be true or false")
    return words[str(value).lower()]


def number(least: int, most: int) -> Callable[[Any], int]:
    def parse(value: Any) -> int:
        try:
            found = None if isinstance(value, bool | float) else int(value)
        except (TypeError, ValueError):
            found = None
        if found is None or not least <= found <= most:
            raise ValueError(f"must be a whole number from {least} to {most}")
        return found

    return parse


def address(value: Any) -> str:
    """`host:port`, with brackets around an IPv6 host; port 0 takes a free one."""
    host, _, port = str(value).rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65535:  # noqa: PLR2004  # the last port
        raise ValueError("must be HOST:PORT")
    return str(value)


def web_url(value: Any) -> str:
    parts = urlsplit(str(value))
    more = "@" in parts.netloc or parts.query or parts.fragment
    if parts.scheme not in {"http", "https"} or not parts.hostname or more:
        raise ValueError("must be a URL such as https://swarm.example.org")
    return str(value).rstrip("/")


def is_loopback(address: str) -> bool:
    """Whether only this machine reaches a `host:port`."""
    host = address.rpartition(":")[0].strip("[]")
    return host in {"localhost", "::1"} or host.startswith("127.")


def words(value: Any) -> str:
    if not isinstance(value, str) or not value.strip() or not value.isprintable():
        raise ValueError("must be text")
    return value.strip()


def level(value: Any) -> str:
    if str(value).lower() not in LEVELS:
        raise ValueError(f"must be one of {', '.join(LEVELS)}")
    return str(value).lower()


def names(value: Any) -> tuple[str, ...]:
    found = value.split(",") if isinstance(value, str) else value
    if not isinstance(found, Sequence) or not all(isinstance(name, str) and name.strip() for name in found):
        raise ValueError("must be a list of names")
    return tuple(name.strip() for name in found)


def networks(value: Any) -> tuple[str, ...]:
    found = names(value)
    for each in found:
        try:
            ip_network(each)
        except ValueError:
            raise ValueError("must be addresses and networks such as 10.0.0.0/8") from None
    return found


def origins(value: Any) -> tuple[str, ...]:
    found = names(value)
    for one in found:
        parts = urlsplit(web_url(one))
        if f"{parts.scheme}://{parts.netloc}" != one:
            raise ValueError("must be a list of origins such as https://console.example.org")
    return found


def delays(value: Any) -> tuple[float, ...]:
    """One to three numbers of seconds, with commas between them."""
    parts = value.split(",") if isinstance(value, str) else value
    try:
        found = tuple(float(part) for part in parts)
    except (TypeError, ValueError):
        found = ()
    if not 1 <= len(found) <= RETRIES or not all(0 <= each <= LONGEST_DELAY_S for each in found):
        raise ValueError(f"must be one to {RETRIES} numbers of seconds from 0 to {LONGEST_DELAY_S}, such as 1,5,30")
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Everything that a control plane can be told; see `OPTIONS` for what each means. Paths are absolute."""

    state_dir: Path
    hosts: tuple[str, ...] = ("local",)
    listen: str = ""
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    tls_client_ca: Path | None = None
    metrics: str = ""
    http: str = HTTP
    http_url: str = ""
    http_body_mib: int = 4
    http_metrics: bool = True
    cors_origins: tuple[str, ...] = ()
    push_mib: int = 512
    reflection: bool = True
    rate_limit: int = 100
    rate_limit_auth: int = 5
    rate_limit_ai: int = 20
    rate_limit_lease: int = 3000
    rate_limit_admin: int = 6000
    trusted_proxies: tuple[str, ...] = ()
    max_message_mib: int = 4
    max_concurrent_rpcs: int = 4096
    allow_file_repositories: bool = True
    git_credentials: Path | None = None
    git_ssh_key: Path | None = None
    lease_ttl: int = 45
    retry_delays: tuple[float, ...] = RetryTimes().delays_s
    min_free_mib: int = 64
    cleanup_every: int = 300
    retention_days: int = 30
    branch_retention_days: int = 14
    smtp_from: str = ""
    slack_hosts: tuple[str, ...] = ("hooks.slack.com",)
    github_client_id: str = ""
    github_redirect_url: str = ""
    github_url: str = "https://github.com"
    github_api_url: str = "https://api.github.com"
    signup_domains: tuple[str, ...] = ()
    log_level: str = "info"
    env_file: Path | None = None
    require_secrets: tuple[str, ...] = ()
    audit_head: Path | None = None
    audit_head_every: int = 300
    sources: Mapping[str, str] = field(default_factory=dict)  # of what was said, where: flag, environment or file

    @property
    def socket(self) -> Path:
        return self.state_dir / SOCKET

    @property
    def database(self) -> Path:
        return self.state_dir / "controlplane.db"


@dataclass(frozen=True, slots=True)
class Option:
    """How the value of a setting is read, `ValueError` saying what it must be, and what people are told about it."""

    parse: Callable[[Any], Any]
    help: str


OPTIONS: Final[Mapping[str, Option]] = {
    "state_dir": Option(path, "folder that holds all state of this process"),
    "hosts": Option(names, "hosts that get a token at start, in hosts/NAME.token"),
    "listen": Option(address, "HOST:PORT to serve gRPC on besides the Unix socket; needs TLS"),
    "tls_certificate": Option(path, "certificate chain for --listen, PEM"),
    "tls_key": Option(path, "private key for --listen, PEM"),
    "tls_client_ca": Option(path, "accept only clients with a certificate of this authority, PEM"),
    "metrics": Option(address, "HOST:PORT to serve /metrics on"),
    "http": Option(address, "HOST:PORT to serve REST, WebSockets and git on; beyond loopback with TLS"),
    "http_url": Option(web_url, "URL under which others reach --http, when that is another"),
    "http_body_mib": Option(number(1, 64), "largest body of a REST call, in MiB"),
    "http_metrics": Option(switch, "whether --http answers /metrics, to this machine and to operators"),
    "cors_origins": Option(origins, "web sites whose pages may call, such as https://console.example.org"),
    "push_mib": Option(number(1, 4096), "largest push of an external agent, in MiB"),
    "reflection": Option(switch, "answer gRPC reflection"),
    "rate_limit": Option(number(1, 10**6), "calls per minute and principal"),
    "rate_limit_auth": Option(number(1, 10**6), "the same for logging in"),
    "rate_limit_ai": Option(number(1, 10**6), "the same for calls that reach a model"),
    "rate_limit_lease": Option(number(1, 10**6), "the same for heartbeats of claims, which count apart"),
    "rate_limit_admin": Option(number(1, 10**7), "calls per minute of the local admin"),
    "trusted_proxies": Option(networks, "addresses and networks whose X-Forwarded-For is believed"),
    "max_message_mib": Option(number(1, 64), "largest message that is taken, in MiB"),
    "max_concurrent_rpcs": Option(number(1, 10**5), "calls and streams at once"),
    "allow_file_repositories": Option(switch, "take repositories on this machine"),
    "git_credentials": Option(path, "file in git-credential-store format for upstreams"),
    "git_ssh_key": Option(path, "SSH private key for upstreams"),
    "lease_ttl": Option(number(3, 3600), "seconds that a lease holds without renewal; the grace after it is a third"),
    "retry_delays": Option(
        delays, "seconds before each retry, the last one for those not named; waits for upstreams follow from it"
    ),
    "min_free_mib": Option(number(1, 10**6), "refuse new work while the disk of the state has less free, in MiB"),
    "cleanup_every": Option(number(1, 86_400), "seconds between cleanups"),
    "retention_days": Option(
        number(0, 36_500), "days that events of finished tickets and records of stopped VMs are kept; 0: for good"
    ),
    "branch_retention_days": Option(
        number(0, 36_500), "days that the branches of a finished ticket's attempts are kept; 0: for good"
    ),
    "smtp_from": Option(words, "sender of mails, such as swarm@example.org"),
    "slack_hosts": Option(names, "hosts that webhooks of Slack may be at, such as of a proxy before it"),
    "github_client_id": Option(words, "id of the OAuth app with which people log in"),
    "github_redirect_url": Option(web_url, "callback URL of that app, exactly as it is registered"),
    "github_url": Option(web_url, "where people log in, for GitHub Enterprise"),
    "github_api_url": Option(web_url, "its API"),
    "signup_domains": Option(names, "who has a verified address there gets an account, as a viewer, by logging in"),
    "env_file": Option(path, "file with secrets as NAME=VALUE lines, instead of .env in the state directory"),
    "require_secrets": Option(names, "secrets without which it does not start, such as AUDIT_KEY"),
    "audit_head": Option(path, "another file, best on another machine, that heads of the audit log are written to"),
    "audit_head_every": Option(number(1, 86_400), "seconds between two heads of the audit log"),
    "log_level": Option(level, f"one of {', '.join(LEVELS)}"),
}


def load(argv: Sequence[str], environment: Mapping[str, str]) -> Config:
    """The configuration, or a `StartError` that lists every fault."""
    arguments = vars(parser().parse_args(argv))
    file = arguments.pop("config", None) or environment.get(f"{PREFIX}CONFIG")
    flags = {name: value for name, value in arguments.items() if value is not None}
    sources = [
        ("--", flags),
        (PREFIX, from_environment(environment)),
        (f"{file}: ", from_file(Path(file)) if file else {}),
    ]
    values, faults = read(sources)
    faults += conflicts(values)
    if faults:
        raise StartError("; ".join(faults), reason="bad_configuration")
    return Config(**values, sources=said_where(sources))


def parser() -> argparse.ArgumentParser:
    result = argparse.ArgumentParser(prog="python -m controlplane", description="Run Swarm's control plane.")
    result.add_argument("--config", metavar="FILE", help="TOML file with the same names, '_' for '-'")
    for name, each in OPTIONS.items():
        result.add_argument(f"--{name.replace('_', '-')}", metavar="VALUE", help=each.help)
    return result


def from_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    found = {key.removeprefix(PREFIX).lower(): value for key, value in environment.items() if key.startswith(PREFIX)}
    found.pop("config", None)
    return found


def from_file(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as fault:
        raise StartError(f"cannot read {file}: {fault.strerror}", reason="bad_configuration") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as fault:
        raise StartError(f"{file} is no TOML: {fault}", reason="bad_configuration") from None


def read(sources: Sequence[tuple[str, Mapping[str, Any]]]) -> tuple[dict[str, Any], list[str]]:
    """Parsed values, the first source winning, and what is wrong with any of them."""
    values: dict[str, Any] = {}
    faults: list[str] = []
    for where, source in reversed(sources):
        for name, value in source.items():
            if name not in OPTIONS:
                faults.append(f"{where}{name}: there is no such setting{hint(name)}")
                continue
            try:
                values[name] = OPTIONS[name].parse(value)
            except ValueError as fault:
                faults.append(f"{where}{name}: {fault}")
    return values, faults


def said_where(sources: Sequence[tuple[str, Mapping[str, Any]]]) -> Mapping[str, str]:
    """By setting the kind of the source that won."""
    kinds = zip(("flag", "environment", "file"), sources, strict=True)
    return {name: kind for kind, (_, source) in reversed(list(kinds)) for name in source}


def hint(name: str) -> str:
    near = difflib.get_close_matches(name, OPTIONS, n=1)
    return f"; did you mean {near[0]}?" if near else ""


def conflicts(values: Mapping[str, Any]) -> list[str]:
    """Faults of values that do not go together."""
    faults = []
    if "state_dir" not in values:
        faults.append("state_dir: name a folder with --state-dir")
    if values.get("listen") and not (values.get("tls_certificate") and values.get("tls_key")):
        faults.append("listen: TCP needs tls_certificate and tls_key")
    beyond = not is_loopback(values.get("http", HTTP))
    if beyond and not (values.get("tls_certificate") and values.get("tls_key")):
        faults.append("http: beyond loopback it needs tls_certificate and tls_key")
    if bool(values.get("github_client_id")) != bool(values.get("github_redirect_url")):
        faults.append("github_client_id: it goes together with github_redirect_url")
    given = any(values.get(name) for name in ("tls_certificate", "tls_key", "tls_client_ca"))
    if given and not (values.get("listen") or beyond):
        faults.append("tls_certificate, tls_key, tls_client_ca: they belong to listen, which is not set")
    return faults
