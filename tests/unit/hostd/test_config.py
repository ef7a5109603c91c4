"""Options of hostd: where they come from and what is said about wrong ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from hostd.config import load
from hostd.errors import ConfigError

NEEDED = ("--state-dir", "/srv/swarm", "--control", "unix:/run/control.sock")


def faults(*arguments: str, **environment: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(arguments, environment)
    assert caught.value.exit_code == 2
    return list(caught.value.faults)


def test_command_line_over_environment_over_file_over_default(tmp_path: Path) -> None:
    file = tmp_path / "hostd.toml"
    file.write_text('max_vms = 3\nuid_base = 5000\ndriver = "sim"\nlabels = {zone = "a", disk = "fast"}\n')
    environment = {"SWARM_HOSTD_UID_BASE": "6000", "SWARM_HOSTD_DRIVER": "qemu", "PATH": "/bin"}
    config = load([*NEEDED, "--config", str(file), "--driver", "sim", "--keep-vms"], environment)
    assert (config.max_vms, config.uid_base, config.driver, config.keep_vms) == (3, 6000, "sim", True)
    assert config.labels == {"zone": "a", "disk": "fast"}
    assert config.instance == "default"
    assert config.token_path == Path("/srv/swarm/host.token")


def test_all_faults_are_reported_together(tmp_path: Path) -> None:
    file = tmp_path / "hostd.toml"
    file.write_text('unknown_key = 1\npool_ready_low = 9\nkeep_vms = "perhaps"\n')
    found = faults(
        "--control", "localhost", "--max-vms", "many", "--driver", "xen", "--label", "zone",
        "--config", str(file), SWARM_HOSTD_FOO="1", SWARM_HOSTD_STATS_EVERY_S="nan",
    )  # fmt: skip
    text = "\n".join(found)
    for part in (
        "--state-dir: is required",
        "--control: is not unix:/PATH or HOST:PORT",
        "--max-vms: 'many' is not a whole number from 0 up",
        "--driver: 'xen' is not one of qemu, sim",
        "--label: 'zone' is not NAME=VALUE",
        "unknown_key: unknown option",
        "keep_vms: 'perhaps' is not true or false",
        "--pool-ready-low: must not be above --pool-ready-high",
        "SWARM_HOSTD_FOO: unknown option",
        "SWARM_HOSTD_STATS_EVERY_S: 'nan' is not a number from 0 up",
    ):
        assert part in text
    assert len(found) == 10


@pytest.mark.parametrize("content", ["max_vms = ", "\x00", "= 1"])
def test_a_damaged_file_is_one_line(tmp_path: Path, content: str) -> None:
    file = tmp_path / "hostd.toml"
    file.write_text(content)
    (line,) = faults(*NEEDED, "--config", str(file))
    assert str(file) in line
    assert "\n" not in line


def test_an_absent_file_is_one_line() -> None:
    assert faults(*NEEDED, "--config", "/nonexistent.toml") == ["/nonexistent.toml: No such file or directory"]


@pytest.mark.parametrize("control", ["unix:relative", "http://a:1", "host", "host:port", "a b:1", "unix:"])
def test_plain_or_malformed_addresses_are_refused(control: str) -> None:
    assert any("--control" in fault for fault in faults("--state-dir", "/srv/swarm", "--control", control))
