from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.fakes.control import control_plane
from tests.fakes.mail import MailServer, mail_server
from tests.fakes.slack import Slack, slack_server
from tests.integration.accounts.people import Town

UNLIMITED = {"rate_limit": 100_000, "rate_limit_auth": 100_000}
KEY = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes"


@pytest.fixture
def home() -> Iterator[Path]:
    """A short path, as Unix sockets need."""
    with tempfile.TemporaryDirectory(prefix="swarm-") as folder:
        yield Path(folder) / "state"


@pytest.fixture
async def mails() -> AsyncIterator[MailServer]:
    async with mail_server() as server:
        yield server


@pytest.fixture
def certificate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """Of localhost, trusted by this process, and its key."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    made = f"req -x509 {KEY} -days 1 -subj /CN=localhost -addext subjectAltName=DNS:localhost -out s.pem -keyout s.key"
    subprocess.run(["openssl", *made.split()], cwd=tmp_path, check=True, capture_output=True)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "s.pem"))
    return tmp_path / "s.pem", tmp_path / "s.key"


@pytest.fixture
async def slack(certificate: tuple[Path, Path]) -> AsyncIterator[Slack]:
    async with slack_server(*certificate) as server:
        yield server


@pytest.fixture
async def town(home: Path, mails: MailServer, slack: Slack) -> AsyncIterator[Town]:
    settings = {
        **UNLIMITED,
        "secrets": {"SWARM_SMTP_URL": f"smtp://127.0.0.1:{mails.port}"},
        "smtp_from": "swarm@example.org",
        "http_url": "https://swarm.example.org",
        "slack_hosts": (slack.host,),
        "retry_delays": (0.0,),
    }
    async with control_plane(home, **settings) as control, control.client() as admin:
        made = Town(control, admin)
        yield made
        for client in made.opened:
            await client.close()
