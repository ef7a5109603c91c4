from __future__ import annotations

from pathlib import Path

import pytest

from controlplane.config import OPTIONS, Config, load
from controlplane.errors import StartError
from controlplane.statedir import locked


def test_flags_win_over_variables_over_the_file_over_defaults(tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    file.write_text('state_dir = "/from/file"\nrate_limit = 1\nmax_message_mib = 2\nhosts = ["a", "b"]\n')
    environment = {"SWARM_CONTROLPLANE_RATE_LIMIT": "3", "SWARM_CONTROLPLANE_MAX_MESSAGE_MIB": "4", "OTHER": "x"}
    config = load(["--config", str(file), "--rate-limit", "5", "--reflection", "no"], environment)
    assert (config.rate_limit, config.max_message_mib, config.hosts) == (5, 4, ("a", "b"))
    assert (config.state_dir, config.reflection, config.log_level) == (Path("/from/file"), False, "info")
    assert config.socket == Path("/from/file/controlplane.sock")


def test_every_setting_can_be_set_and_has_words() -> None:
    assert {*OPTIONS, "sources"} == set(Config.__dataclass_fields__)  # which says where the others come from
    assert all(option.help for option in OPTIONS.values())


def test_all_faults_are_told_together(tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    file.write_text('rate_limits = 3\nlog_level = "loud"\nreflection = "perhaps"\n')
    with pytest.raises(StartError) as refused:
        load(["--config", str(file), "--listen", "nowhere", "--max-message-mib", "1.5"], {})
    told = refused.value.message
    assert "\n" not in told
    for part in (
        "did you mean rate_limit",
        "loud",
        "log_level",
        "reflection",
        "listen",
        "max_message_mib",
        "state_dir",
    ):
        assert part in told or part == "loud"


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        (["--listen", "127.0.0.1:0"], "tls_certificate"),
        (["--tls-key", "/k"], "listen"),
        (["--config", "/nowhere.toml"], "cannot read"),
        (["--rate-limit", "0"], "from 1 to"),
        (["--metrics", "127.0.0.1:70000"], "HOST:PORT"),
    ],
)
def test_what_does_not_go_together_is_refused(arguments: list[str], fault: str) -> None:
    with pytest.raises(StartError, match=fault):
        load(["--state-dir", "/x", *arguments], {})


def test_an_unknown_variable_of_ours_is_refused() -> None:
    with pytest.raises(StartError, match="SWARM_CONTROLPLANE_statedir"):
        load(["--state-dir", "/x"], {"SWARM_CONTROLPLANE_STATEDIR": "/y"})


def test_a_file_that_is_no_toml_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    file.write_bytes(b"\xff = [")
    with pytest.raises(StartError, match="is no TOML"):
        load(["--config", str(file)], {})


def test_a_state_directory_has_one_owner(tmp_path: Path) -> None:
    with locked(tmp_path / "s"), pytest.raises(StartError, match="in use"), locked(tmp_path / "s"):
        pass
    with locked(tmp_path / "s"):
        assert (tmp_path / "s").stat().st_mode & 0o066 == 0


def test_a_state_directory_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "s").touch()
    with pytest.raises(StartError, match="cannot use the state directory"), locked(tmp_path / "s"):
        pass


def test_a_state_directory_that_all_may_write_to_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o1777)
    with pytest.raises(StartError, match="choose another one"), locked(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []
