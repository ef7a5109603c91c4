"""Logging in and out by the command line, and what it leaves on the disk."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from tests.integration.cli.conftest import Swarm

PASSWORD = "correct horse battery"


def test_an_account_from_its_making_to_its_key(
    in_process: Swarm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "config" / "credentials.json"
    monkeypatch.setenv("SWARM_CREDENTIALS_FILE", str(file))
    monkeypatch.setenv("SWARM_PASSWORD", PASSWORD)
    assert "the local admin" in in_process("whoami").out

    made = in_process("admin", "create", "root@example.org", "--json").json
    assert (made["user"]["role"], made["user"]["name"]) == ("ROLE_ADMIN", "root")
    assert in_process("admin", "user", "list", "--json").json[0]["email"] == "root@example.org"
    token = in_process("admin", "user", "create", "ann@example.org", "--role", "viewer", "--invite", "--json").json
    assert token["reset_token"].startswith("swm_reset_")

    in_process("login", "root@example.org")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert PASSWORD not in file.read_text()
    assert "root@example.org" in in_process("whoami").out

    key = in_process("key", "create", "ci", "--scope", "tickets:write", "--days", "9", "--json").json
    assert key["secret"] not in in_process("key", "list").out
    monkeypatch.setenv("SWARM_TOKEN", key["secret"])
    assert in_process("whoami", "--json").json["scopes"] == ["tickets:write"]
    assert in_process("admin", "user", "list", code=4).err
    in_process("ticket", "create", "x", "--agent", "echo")
    monkeypatch.delenv("SWARM_TOKEN")

    in_process("key", "revoke", key["key"]["id"])
    in_process("admin", "tenant", "create", "acme")
    in_process("admin", "tenant", "disable", "acme")
    assert [each["id"] for each in in_process("admin", "tenant", "list", "--json").json] == ["acme", "default"]
    in_process("admin", "user", "role", token["user"]["id"], "operator")
    in_process("admin", "user", "disable", token["user"]["id"])
    assert "swm_reset_" in in_process("admin", "user", "reset", token["user"]["id"]).out

    in_process("logout")
    assert json.loads(file.read_text()) == {}
    assert "the local admin" in in_process("whoami").out
    assert "wrong" in in_process("login", "nobody@example.org", code=4).err


def test_a_token_that_ends_soon_is_exchanged_before_the_call(
    in_process: Swarm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "credentials.json"
    monkeypatch.setenv("SWARM_CREDENTIALS_FILE", str(file))
    monkeypatch.setenv("SWARM_PASSWORD", PASSWORD)
    in_process("admin", "user", "create", "bob@example.org")
    in_process("login", "bob@example.org")
    stored = json.loads(file.read_text())
    (target,) = stored
    before = dict(stored[target])
    stored[target]["expires_at"] = 0
    file.write_text(json.dumps(stored))
    assert "bob@example.org" in in_process("whoami").out
    after = json.loads(file.read_text())[target]
    assert after["refresh_token"] != before["refresh_token"]
    # A copy of the used token ends the login, and the next command says what to do.
    file.write_text(json.dumps({target: before | {"expires_at": 0}}))
    assert in_process("whoami", code=4).err
    assert json.loads(file.read_text()) == {}
