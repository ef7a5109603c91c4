"""Inbox, profile and administration by the command line."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from tests.integration.cli.conftest import Swarm


@pytest.fixture
def logged_in(in_process: Swarm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Swarm:
    monkeypatch.setenv("SWARM_CREDENTIALS_FILE", str(tmp_path / "credentials.json"))
    monkeypatch.setenv("SWARM_PASSWORD", "correct horse battery")
    email = f"{tmp_path.name}@example.org".lower()  # the deployment is shared with other tests
    in_process("admin", "create", email)
    in_process("login", email)
    return in_process


def test_preferences_are_shown_and_changed_one_by_one(logged_in: Swarm) -> None:
    assert logged_in("notifications", "list", "--json").json == []
    logged_in("notifications", "preferences", "--rule", "ticket_failed=")
    shown = logged_in("notifications", "preferences", "--rule", "host_lost=browser", "--json").json
    rules = {rule["kind"]: rule["channels"] for rule in shown["rules"]}
    assert rules["NOTIFICATION_KIND_TICKET_FAILED"] == []
    assert rules["NOTIFICATION_KIND_QUESTION_ASKED"] == ["CHANNEL_BROWSER"]
    assert "nowhere" in logged_in("notifications", "preferences").out
    assert "KIND is of" in logged_in("notifications", "preferences", "--rule", "rain=browser", code=2).err
    assert logged_in("notifications", "read", "--all", "--json").json == {"read": 0}
    assert logged_in("notifications", "read", code=2).err
    assert logged_in("notifications", "read", "nt_0", code=3).err


def test_a_name_and_a_picture(logged_in: Swarm, tmp_path: Path) -> None:
    Image.new("RGB", (10, 10)).save(tmp_path / "me.png")
    (tmp_path / "none.png").write_text("no picture")
    logged_in("profile", "name", "Ann Lee")
    assert logged_in("whoami", "--json").json["user"]["name"] == "Ann Lee"
    logged_in("profile", "picture", str(tmp_path / "me.png"))
    assert "picture" in logged_in("profile", "picture", str(tmp_path / "none.png"), code=2).err
    logged_in("profile", "picture", "--remove")
    assert logged_in("profile", "picture", "--remove", code=3).err


def test_the_deployment_is_looked_at_and_changed(logged_in: Swarm) -> None:
    shown = {each["name"]: each for each in logged_in("admin", "config", "--json").json}
    assert shown["rate_limit"]["changeable"]
    changed = logged_in("admin", "config", "--set", "retention-days=9", "--json").json
    assert next(each["value"] for each in changed if each["name"] == "retention_days") == "9"
    assert "no such setting" in logged_in("admin", "config", "--set", "rain=1", code=2).err
    assert logged_in("admin", "usage", "--json").json["rows"] == []
    assert "total" in logged_in("admin", "usage").out
    assert "store" in logged_in("admin", "health", code=1).out  # no host is attached
