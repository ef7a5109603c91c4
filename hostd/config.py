"""Configuration of hostd: command line over environment over an optional TOML file over defaults.

Each field of `Config` is one option: ``--max-vms`` on the command line, ``SWARM_HOSTD_MAX_VMS`` in the environment,
``max_vms`` in the file. All faults are found before any is reported.
"""

from __future__ import annotations

import argparse
import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import Field, dataclass, field, fields
from pathlib import Path
from typing import Any, get_type_hints

from hostd.errors import ConfigError

ENVIRONMENT = "SWARM_HOSTD_"
NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")
DRIVERS = ("qemu", "sim")
ACCELERATORS = ("auto", "kvm", "tcg")
LEVELS = ("debug", "info", "warning", "error")


def _help(text: str) -> Mapping[str, str]:
    return {"help": text}


@dataclass(frozen=True, slots=True)
class Config:
    """Sizes in MiB, times in seconds unless the name says otherwise."""

    state_dir: Path = field(metadata=_help("folder for everything this host keeps"))
    control: str = field(metadata=_help("control plane: unix:PATH, or HOST:PORT with TLS"))
    instance: str = field(default="default", metadata=_help("name of this hostd, unique on its machine"))
    token_file: Path | None = field(
        default=None, metadata=_help("file with the host's token; default: host.token in the state directory")
    )
    ca: Path | None = field(
        default=None, metadata=_help("certificates that sign the control plane's; default: the system's")
    )
    certificate: Path | None = field(default=None, metadata=_help("this host's certificate, for mutual TLS"))
    key: Path | None = field(default=None, metadata=_help("key of the certificate"))
    driver: str = field(default="qemu", metadata=_help("qemu, or sim for simulated VMs without any isolation"))
    max_vms: int = field(default=8, metadata=_help("VMs at once"))
    vcpus: int = field(default=0, metadata=_help("vCPUs to offer; 0: eight for each core"))
    memory_mib: int = field(default=0, metadata=_help("guest memory to offer; 0: four fifths of the machine's"))
    disk_mib: int = field(default=0, metadata=_help("scratch disk space to offer; 0: four fifths of what is free"))
    labels: Mapping[str, str] = field(
        default_factory=dict, metadata=_help("NAME=VALUE, repeatable: what tickets may ask for")
    )
    default_image: str = field(default="default", metadata=_help("image of tickets that name none"))
    cache_dir: Path | None = field(
        default=None, metadata=_help("folder of images and templates, shared by hosts; default: in the state directory")
    )
    accel: str = field(default="auto", metadata=_help("qemu: auto, kvm or tcg"))
    pool_ready_low: int = field(
        default=1, metadata=_help("restored, paused VMs per template below which more are made")
    )
    pool_ready_high: int = field(default=2, metadata=_help("restored, paused VMs per template to build up to"))
    pool_spawned_low: int = field(default=1, metadata=_help("VMMs per template waiting to restore, lower mark"))
    pool_spawned_high: int = field(default=1, metadata=_help("VMMs per template waiting to restore, upper mark"))
    uid_base: int = field(default=64000, metadata=_help("first of the numeric users of broker, git and VMs"))
    git_credentials: Path | None = field(
        default=None, metadata=_help("file in git-credential-store format, for upstreams")
    )
    git_ssh_key: Path | None = field(default=None, metadata=_help("SSH key for upstreams"))
    allow_file_repositories: bool = field(default=True, metadata=_help("allow repositories on this machine's disk"))
    pack_mib: int = field(default=512, metadata=_help("largest push of a guest"))
    boot_timeout_s: float = field(default=90.0, metadata=_help("time for a guest to answer after its start"))
    prepare_timeout_s: float = field(default=1800.0, metadata=_help("time for repository, image and VM to be ready"))
    max_attempt_s: float = field(default=86400.0, metadata=_help("longest run of an attempt, whatever its ticket says"))
    stall_after_s: float = field(
        default=1800.0, metadata=_help("attempts without progress for so long end, unless their ticket says; 0: never")
    )
    idle_vm_s: float = field(default=600.0, metadata=_help("untouched VMs booted by hand are stopped after this time"))
    cleanup_every_s: float = field(default=300.0, metadata=_help("time between cleanups"))
    health_every_s: float = field(
        default=30.0, metadata=_help("time between health checks; a VM that misses three in a row is given up")
    )
    cache_budget_mib: int = field(
        default=20480, metadata=_help("disk for images and templates; the least recently used go first; 0: no bound")
    )
    mirror_budget_mib: int = field(default=20480, metadata=_help("the same for git mirrors"))
    stats_every_s: float = field(default=2.0, metadata=_help("time between VM reports"))
    keep_vms: bool = field(default=False, metadata=_help("leave VMs running at exit, for the next start to adopt"))
    metrics: str = field(default="", metadata=_help("HOST:PORT to serve /metrics on; empty: nowhere"))
    log_level: str = field(default="info", metadata=_help("debug, info, warning or error"))
    sim_instant: bool = field(default=False, metadata=_help("sim: play every ticket in process"))
    sim_acquire_ms: float = field(default=0.2, metadata=_help("sim: time to acquire a VM"))
    sim_boot_ms: float = field(default=1.0, metadata=_help("sim: time to boot"))
    sim_run_ms: float = field(default=0.0, metadata=_help("sim: time of a ticket played in process that names none"))
    sim_boot_failure_rate: float = field(default=0.0, metadata=_help("sim: share of VMs that fail to boot"))
    sim_death_rate: float = field(default=0.0, metadata=_help("sim: share of VMs that die"))
    sim_death_within_ms: float = field(default=1000.0, metadata=_help("sim: when VMs that die do so, at the latest"))
    sim_seed: int = field(default=0, metadata=_help("sim: seed of the dice"))

    @property
    def token_path(self) -> Path:
        return self.token_file or self.state_dir / "host.token"

    @property
    def name(self) -> str:
        """Name to introduce this host by; empty: the one that its token was made for."""
        return "" if self.instance == "default" else self.instance


def _boolean(text: str) -> bool:
    if text.lower() in {"true", "1", "yes", "on"}:
        return True
    if text.lower() in {"false", "0", "no", "off"}:
        return False
    raise ValueError("is not true or false")


def _number(text: str) -> float:
    value = float(text)
    if not 0 <= value < float("inf"):
        raise ValueError("is not a number from 0 up")
    return value


def _whole(text: str) -> int:
    if not text.isdecimal():
        raise ValueError("is not a whole number from 0 up")
    return int(text)


def _label(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise ValueError("is not NAME=VALUE")
    return name, value


def _labels(text: str) -> Mapping[str, str]:
    return dict(_label(item) for item in text.split(",") if item)


PARSERS: Mapping[Any, Callable[[str], Any]] = {
    str: str,
    int: _whole,
    float: _number,
    bool: _boolean,
    Path: lambda text: Path(text).absolute(),
    Path | None: lambda text: Path(text).absolute(),
    Mapping[str, str]: _labels,
}


class _Collector:
    """Gathers values by field, the first source that names one winning, and faults."""

    def __init__(self) -> None:
        self.options: dict[str, Field[Any]] = {option.name: option for option in fields(Config)}
        self._types = get_type_hints(Config)
        self.values: dict[str, Any] = {}
        self.faults: list[str] = []

    def take(self, name: str, text: str, source: str) -> None:
        if name in self.values:
            return
        try:
            self.values[name] = PARSERS[self._types[name]](text)
        except ValueError as error:
            wrong = str(error) if str(error).startswith("is not") else "is not a number"
            self.faults.append(f"{source}: {text[:80]!r} {wrong}")

    def unknown(self, source: str) -> None:
        self.faults.append(f"{source}: unknown option; `python -m hostd --help` lists them")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m hostd", description="Runs microVMs for a Swarm control plane.", allow_abbrev=False
    )
    parser.add_argument("--config", type=Path, metavar="FILE", help="TOML file with any of these options")
    for option in fields(Config):
        flag, text = "--" + option.name.replace("_", "-"), option.metadata["help"]
        if option.type == "bool":
            parser.add_argument(flag, nargs="?", const="true", metavar="BOOL", help=text)
        elif option.name == "labels":
            parser.add_argument("--label", dest="labels", action="append", metavar="NAME=VALUE", help=text)
        else:
            parser.add_argument(flag, metavar="VALUE", help=text)
    return parser


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return ",".join(f"{key}={item}" for key, item in value.items())
    return str(value)


def _file_values(path: Path | None, found: _Collector) -> Mapping[str, Any]:
    if path is None:
        return {}
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        found.faults.append(f"{path}: {error.strerror}")
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        found.faults.append(f"{path}: {error}")
    return {}


def load(arguments: Sequence[str], environment: Mapping[str, str]) -> Config:
    """`ConfigError` with every fault; argparse ends the program itself for --help and unknown flags."""
    given = vars(_parser().parse_args(arguments))
    file: Path | None = given.pop("config")
    found = _Collector()
    for name, value in given.items():
        if value is not None:
            text = ",".join(value) if isinstance(value, list) else value
            found.take(name, text, "--label" if name == "labels" else "--" + name.replace("_", "-"))
    for key in sorted(key for key in environment if key.startswith(ENVIRONMENT)):
        name = key.removeprefix(ENVIRONMENT).lower()
        found.take(name, environment[key], key) if name in found.options else found.unknown(key)
    for key, value in _file_values(file, found).items():
        found.take(key, _text(value), f"{file}: {key}") if key in found.options else found.unknown(f"{file}: {key}")
    return _build(found)


def _build(found: _Collector) -> Config:
    named = {fault.partition(":")[0] for fault in found.faults}
    for name in ("state_dir", "control"):
        flag = "--" + name.replace("_", "-")
        if name not in found.values and flag not in named:
            found.faults.append(f"{flag}: is required")
    found.faults += _check(found.values)
    if found.faults:
        raise ConfigError(found.faults)
    return Config(**found.values)


def _check(values: Mapping[str, Any]) -> list[str]:
    """Faults that a type cannot express; a value that is missing has been reported already, or is a good default."""

    def value(name: str) -> Any:
        return values.get(name, Config.__dataclass_fields__[name].default)

    faults = []
    if not NAME.fullmatch(value("instance")):
        faults.append("--instance: lower-case letters, digits and dashes, at most 40")
    if value("driver") not in DRIVERS:
        faults.append(f"--driver: {value('driver')[:40]!r} is not one of {', '.join(DRIVERS)}")
    if value("log_level") not in LEVELS:
        faults.append(f"--log-level: {value('log_level')[:40]!r} is not one of {', '.join(LEVELS)}")
    if not 1 <= value("max_vms") <= 1024:  # noqa: PLR2004  # the users of VMs are numbered within one range
        faults.append("--max-vms: 1 to 1024")
    if value("accel") not in ACCELERATORS:
        faults.append(f"--accel: {value('accel')[:40]!r} is not one of {', '.join(ACCELERATORS)}")
    faults += [
        f"--pool-{kind}-low: must not be above --pool-{kind}-high"
        for kind in ("ready", "spawned")
        if value(f"pool_{kind}_low") > value(f"pool_{kind}_high")
    ]
    if bool(value("certificate")) != bool(value("key")):
        faults.append("--certificate: goes together with --key")
    faults += [
        f"--{name.replace('_', '-')}: a share from 0 to 1"
        for name in ("sim_boot_failure_rate", "sim_death_rate")
        if value(name) > 1
    ]
    return faults + _check_control(values.get("control"))


def _check_control(control: str | None) -> list[str]:
    if control is None or re.fullmatch(r"unix:/.+|(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9.-]+):[0-9]{1,5}", control):
        return []
    return ["--control: is not unix:/PATH or HOST:PORT"]
