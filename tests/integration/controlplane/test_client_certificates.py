"""gRPC over TCP where only clients with a certificate of one authority get in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from controlplane.app import running
from controlplane.config import Config
from swarm_sdk import Client, UnavailableError
from tests.fakes.control import Control

NOW = datetime.now(UTC)
DAY = timedelta(days=1)


@dataclass(frozen=True)
class Certificate:
    made: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def pem(self) -> bytes:
        return self.made.public_bytes(serialization.Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        private = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        return self.key.private_bytes(serialization.Encoding.PEM, *private)


def certificate(name: str, issuer: Certificate | None = None, ends: datetime = NOW + DAY) -> Certificate:
    """Of an authority, where nobody issues it."""
    key, subject = ec.generate_private_key(ec.SECP256R1()), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.made.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW - 2 * DAY)
        .not_valid_after(ends)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
    )
    return Certificate(builder.sign(issuer.key if issuer else key, hashes.SHA256()), key)


@pytest.fixture(scope="module")
def authority() -> Certificate:
    return certificate("authority")


@pytest.fixture(scope="module")
def shown(authority: Certificate) -> Mapping[str, Certificate | None]:
    """What clients come with; the first only is good."""
    return {
        "good": certificate("client", authority),
        "none": None,
        "of another authority": certificate("client", certificate("authority")),
        "expired": certificate("client", authority, NOW - DAY),
        "of its own": certificate("client"),
    }


async def test_only_those_of_the_authority_get_in(
    home: Path, tmp_path: Path, authority: Certificate, shown: Mapping[str, Certificate | None]
) -> None:
    server = certificate("localhost", authority)
    files = {"ca.pem": authority.pem, "server.pem": server.pem, "server.key": server.key_pem}
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    pem, key, ca = (tmp_path / name for name in ("server.pem", "server.key", "ca.pem"))
    config = Config(state_dir=home, listen="localhost:0", tls_certificate=pem, tls_key=key, tls_client_ca=ca)
    got = {}
    async with running(config) as edge:
        for name, each in shown.items():
            pair = (each.key_pem, each.pem) if each else (None, None)
            credentials = grpc.ssl_channel_credentials(authority.pem, *pair)
            where, token = f"localhost:{edge.port}", Control(config).token()
            async with Client(where, token, credentials=credentials, retries=0, timeout_s=60) as client:
                got[name] = await answered(client)
    assert got == {name: name == "good" for name in shown}


async def answered(client: Client) -> bool:
    try:
        await client.tickets.list()
    except UnavailableError:
        return False
    return True
