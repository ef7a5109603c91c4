"""git over HTTPS, with a certificate of an authority of one's own."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from swarm_sdk import ProjectSpec, TicketSpec
from tests.e2e.harness.upstream import Upstream
from tests.fakes.control import control_plane
from tests.integration.external.conftest import AGENT, git, publish

KEY = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes"


def openssl(command: str, folder: Path) -> None:
    subprocess.run(["openssl", *command.split()], cwd=folder, check=True, capture_output=True)


def authority(folder: Path, name: str) -> Path:
    """The certificate of a new authority, with its key beside it."""
    openssl(f"req -x509 {KEY} -days 1 -subj /CN={name} -out {name}.pem -keyout {name}.key", folder)
    return folder / f"{name}.pem"


@pytest.fixture
def trusted(tmp_path: Path) -> Path:
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    return authority(tmp_path, "trusted")


@pytest.fixture
def certificate(trusted: Path) -> tuple[Path, Path]:
    """What the authority signed for localhost, and its key."""
    folder = trusted.parent
    (folder / "names").write_text("subjectAltName=DNS:localhost\n")
    openssl(f"req {KEY} -subj /CN=localhost -out server.csr -keyout server.key", folder)
    sign = "x509 -req -in server.csr -CA trusted.pem -CAkey trusted.key -CAcreateserial -days 1"
    openssl(f"{sign} -extfile names -out server.pem", folder)
    return folder / "server.pem", folder / "server.key"


async def test_git_clones_and_pushes_over_tls_from_whom_it_trusts_only(
    home: Path, upstream: Upstream, trusted: Path, certificate: tuple[Path, Path]
) -> None:
    folder, (pem, key) = trusted.parent, certificate
    tls = {"http": "0.0.0.0:0", "tls_certificate": pem, "tls_key": key}
    async with control_plane(home, **tls) as control, control.client() as client:
        await publish(client)
        project = await client.projects.create(ProjectSpec(name="demo", repository=str(upstream.path), agent=AGENT))
        await client.tickets.create(TicketSpec(title="Port it", project_id=project.id))
        claim = await client.tickets.claim([AGENT])
        assert claim
        assert claim.git_url.startswith("https://")
        url = claim.git_url.replace(str(urlsplit(claim.git_url).hostname), "localhost")
        for refused, authority_known in ((url, authority(folder, "stranger")), (claim.git_url, trusted)):
            done = await git("clone", refused, "none", cwd=folder, config=(f"http.sslCAInfo={authority_known}",))
            assert done.code
            assert "certificate" in done.err
        assert (await git("clone", url.replace("https:", "http:"), "none", cwd=folder)).code
        config = (f"http.sslCAInfo={trusted}",)
        done = await git("clone", "--quiet", url, "work", cwd=folder, config=config)
        assert done.code == 0, done.err
        assert (folder / "work" / "a.txt").read_text() == "one\n"
        await git("commit", "--quiet", "--allow-empty", "--message=Change", cwd=folder / "work")
        assert (await git("push", "--quiet", cwd=folder / "work", config=config)).code == 0
        head = (await git("rev-parse", "HEAD", cwd=folder / "work")).out.strip()
        await client.tickets.complete(claim.ticket.id, claim.fence, head=head)
        assert upstream.branches()["swarm/TKT-001/a1"] == head
