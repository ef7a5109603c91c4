from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from controlplane.app import secrets_of
from controlplane.config import Config
from controlplane.errors import StartError
from controlplane.secret import Secret, Secrets
from telemetry.redaction import BLANK, redact_text

KEY = "a key that is long enough to be one of the audit log"
URL = "redis://:hunter2@localhost:6379/0"


def loaded(environment: dict[str, str], file: Path | None = None, *required: str) -> Secrets:
    secrets = Secrets(environment, file, required=required)
    secrets.load()
    return secrets


def revealed(secrets: Secrets, name: str) -> str | None:
    found = secrets.get(name)
    return found.reveal() if found else None


def test_a_secret_comes_from_the_environment_a_file_or_an_env_file(tmp_path: Path) -> None:
    mounted, env = tmp_path / "mounted", tmp_path / ".env"
    mounted.write_text(f"{KEY}\n")
    env.write_text(f'SWARM_REDIS_URL="{URL}"\nSWARM_AUDIT_KEY_FILE={mounted}\nOTHER=1\n')
    env.chmod(0o600)
    secrets = loaded({}, env)
    assert (revealed(secrets, "AUDIT_KEY"), revealed(secrets, "REDIS_URL")) == (KEY, URL)
    assert revealed(loaded({"SWARM_REDIS_URL": "unix:///x"}, env), "REDIS_URL") == "unix:///x"
    assert revealed(loaded({}, tmp_path / "none"), "AUDIT_KEY") is None
    with pytest.raises(KeyError):
        secrets.get("NO_SUCH")


def test_all_faults_are_said_at_once_and_no_value(tmp_path: Path) -> None:
    environment = {"SWARM_AUDIT_KEY": "hunter2", "SWARM_REDIS_URL_FILE": str(tmp_path / "none")}
    with pytest.raises(StartError) as refused:
        loaded(environment, None, "AUDIT_KEY", "REDIS_URL", "ODD")
    said = refused.value.message
    for part in ("at least 32", "REDIS_URL_FILE cannot be read", "REDIS_URL: it is required", "ODD: there is no such"):
        assert part in said
    assert "hunter2" not in said


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"SWARM_REDIS_URL": "http://x"}, "must be a URL such as"),
        ({"SWARM_REDIS_URL": URL, "SWARM_REDIS_URL_FILE": "/x"}, "not both"),
        ({"SWARM_REDIS_URL_FILE": "/dev/null"}, "is empty"),
        ({"SWARM_REDIS_URL_FILE": "/"}, "cannot be read"),
    ],
)
def test_a_secret_that_cannot_be_right_is_refused(environment: dict[str, str], words: str) -> None:
    with pytest.raises(StartError, match=words):
        loaded(environment)


def test_an_env_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("A=1\n")
    (tmp_path / ".env").chmod(0o644)
    with pytest.raises(StartError, match="chmod 600"):
        loaded({}, tmp_path / ".env")


def test_secrets_are_read_again_all_or_none(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    mounted = tmp_path / "mounted"
    changed: list[frozenset[str]] = []
    mounted.write_text(URL)
    environment = {"SWARM_REDIS_URL_FILE": str(mounted), "SWARM_AUDIT_KEY": KEY}
    secrets = loaded(environment)
    secrets.on_change(changed.append)
    mounted.write_text("redis://other")
    secrets.reload()
    assert revealed(secrets, "REDIS_URL") == "redis://other"
    mounted.write_text("rubbish")
    environment["SWARM_AUDIT_KEY"] = KEY * 2
    secrets.reload()
    assert (revealed(secrets, "REDIS_URL"), revealed(secrets, "AUDIT_KEY")) == ("redis://other", KEY)
    assert changed == [frozenset({"REDIS_URL"})]
    assert "stay as they were" in caplog.text


def test_a_secret_shows_itself_nowhere() -> None:
    secret = Secret("hunter2")
    assert "hunter2" not in f"{secret} {secret!r} {[secret]} {vars(Secret)}"
    assert secret == Secret("hunter2") != Secret("other")
    with pytest.raises(TypeError):
        pickle.dumps(secret)


@pytest.mark.parametrize("url", ["http://mail", "smtp://", "smtp://mail/x", "smtp://mail:port", "mail.example.org"])
def test_a_mail_server_is_named_by_a_url(url: str) -> None:
    with pytest.raises(StartError, match="SWARM_SMTP_URL"):
        loaded({"SWARM_SMTP_URL": url})


def test_a_secret_is_nothing_without_the_settings_beside_it(tmp_path: Path) -> None:
    given = {"SWARM_SMTP_URL": "smtp://mail", "SWARM_GITHUB_CLIENT_SECRET": "hunter22"}
    with pytest.raises(StartError) as refused:
        secrets_of(Config(state_dir=tmp_path, smtp_from="s@example.org"), given).load()
    for part in ("SMTP_URL: it needs http_url", "CLIENT_SECRET: it needs github_client_id and github_redirect_url"):
        assert part in refused.value.message
    with pytest.raises(StartError, match="SWARM_GITHUB_CLIENT_SECRET: it is required"):
        secrets_of(Config(state_dir=tmp_path, github_client_id="x"), {}).load()


def test_logs_blank_every_secret_and_say_where_its_server_is() -> None:
    loaded({"SWARM_SMTP_URL": "smtp://ann:correct%20horse@mail", "SWARM_GITHUB_CLIENT_SECRET": "battery-staple"})
    said = redact_text("mail refuses correct horse (correct%20horse), GitHub battery-staple")
    assert said == f"mail refuses {BLANK} ({BLANK}), GitHub {BLANK}"
