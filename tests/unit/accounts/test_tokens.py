from __future__ import annotations

import os
from pathlib import Path

import pytest

from controlplane.accounts.tokens import LOOK_AGAIN_S, Tokens, host_id
from controlplane.domain.call import Role
from controlplane.errors import StartError, Unauthenticated


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def tokens(tmp_path: Path, clock: Clock) -> Tokens:
    made = Tokens(tmp_path, clock)
    made.ensure(("local", "far.away"))
    return made


def bearer(path: Path) -> dict[str, str]:
    return {"authorization": f"Bearer {path.read_text().strip()}"}


def test_tokens_are_made_once_and_for_their_owner_only(tokens: Tokens, tmp_path: Path) -> None:
    files = [tmp_path / "admin.token", tmp_path / "hosts" / "local.token", tmp_path / "hosts" / "far.away.token"]
    before = [file.read_text() for file in files]
    assert [file.stat().st_mode & 0o777 for file in files] == [0o600] * 3
    assert (tmp_path / "hosts").stat().st_mode & 0o777 == 0o700
    tokens.ensure(("local",))
    assert [file.read_text() for file in files] == before
    assert len(set(before)) == 3


def test_each_token_means_its_principal(tokens: Tokens, tmp_path: Path) -> None:
    admin = tokens.authenticate(bearer(tmp_path / "admin.token"))
    assert (admin.name, admin.role, admin.host_id) == ("admin", Role.ADMIN, "")
    host = tokens.authenticate(bearer(tmp_path / "hosts" / "local.token"))
    assert (host.name, host.role, host.host_id) == ("host:local", Role.HOST, host_id("local"))
    assert host_id("local") != host_id("far.away")


@pytest.mark.parametrize(
    "header", ["", "Bearer", "Bearer ", "Basic abc", "bearer  x", "Bearer nobody", "Bearer " + "x" * 513, "\0"]
)
def test_everything_else_is_nobody(tokens: Tokens, header: str) -> None:
    with pytest.raises(Unauthenticated):
        tokens.authenticate({"authorization": header})


def test_a_removed_file_revokes_and_a_new_one_grants(tokens: Tokens, tmp_path: Path, clock: Clock) -> None:
    file = tmp_path / "hosts" / "local.token"
    old = bearer(file)
    tokens.authenticate(old)
    file.unlink()
    clock.now += LOOK_AGAIN_S
    with pytest.raises(Unauthenticated):
        tokens.authenticate(old)
    tokens.ensure(("local",))
    clock.now += LOOK_AGAIN_S
    assert tokens.authenticate(bearer(file)).host_id == host_id("local")


def test_a_file_that_others_can_read_stops_the_start_and_is_ignored_later(
    tokens: Tokens, tmp_path: Path, clock: Clock
) -> None:
    file = tmp_path / "admin.token"
    file.chmod(0o640)
    with pytest.raises(StartError, match="chmod 600"):
        Tokens(tmp_path).ensure()
    clock.now += LOOK_AGAIN_S
    with pytest.raises(Unauthenticated):
        tokens.authenticate(bearer(file))


@pytest.mark.parametrize("content", ["", "\n", "x" * 600])
def test_a_file_without_a_token_stops_the_start(tokens: Tokens, tmp_path: Path, content: str) -> None:
    (tmp_path / "admin.token").write_text(content)
    with pytest.raises(StartError, match="holds no token"):
        Tokens(tmp_path).ensure()


@pytest.mark.parametrize("name", ["", "../x", "A", "a/b", "-a", "a" * 64, "a\0"])
def test_names_that_are_no_host_names_stop_the_start(tmp_path: Path, name: str) -> None:
    with pytest.raises(StartError, match="host name"):
        Tokens(tmp_path).ensure((name,))


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: other users")
def test_a_token_that_another_user_put_there_is_refused(tokens: Tokens, tmp_path: Path) -> None:
    os.chown(tmp_path / "admin.token", 65534, 65534)
    with pytest.raises(StartError, match="belongs to another user"):
        tokens.ensure(("local",))
