from __future__ import annotations

import contextlib
import io
import json
import os
import tarfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.domain import bundle
from controlplane.domain.manifest import ManifestError

AGENTS = Path(__file__).resolve().parents[3] / "controlplane" / "agents"
GOOD = {"name": "my-agent", "version": "1.2.3", "command": ["./run"], "input_schema": {"type": "object"}}


def folder(path: Path, manifest: Any = GOOD) -> Path:
    path.mkdir()
    (path / "agent.json").write_text(json.dumps(manifest))
    (path / "run").write_text("#!/bin/sh\n")
    (path / "run").chmod(0o755)
    return path


def tar(manifest: bytes = json.dumps(GOOD).encode(), **extra: Any) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        members = {"agent.json": {"data": manifest}, "run": {"mode": 0o755}, **extra}
        for name, fields in members.items():
            for _ in range(fields.get("times", 1)):
                info = tarfile.TarInfo(fields.get("name", name))
                info.type, info.mode = fields.get("type", tarfile.REGTYPE), fields.get("mode", 0o644)
                info.size, info.linkname = len(fields.get("data", b"")), "/etc/passwd"
                archive.addfile(info, io.BytesIO(fields.get("data", b"")))
    return buffer.getvalue()


@pytest.mark.parametrize("name", ["echo", "shell"])
def test_built_in_agents_are_bundles(name: str) -> None:
    manifest = bundle.read(bundle.pack(AGENTS / name))
    assert manifest.name == name
    assert manifest.command == ("./run",)
    assert manifest.input_schema["type"] == "object"


def test_a_bundle_depends_on_contents_alone(tmp_path: Path) -> None:
    first, second = folder(tmp_path / "a"), folder(tmp_path / "b")
    os.utime(second / "run", (1, 1))
    (second / "run").chmod(0o700)
    (second / "__pycache__").mkdir()
    (second / "__pycache__" / "x.pyc").write_text("x")
    assert bundle.pack(first) == bundle.pack(second)
    (second / "lib").mkdir()
    (second / "lib" / "a").write_text("x")
    assert bundle.digest(bundle.pack(first)) != bundle.digest(bundle.pack(second))


def test_defaults() -> None:
    manifest = bundle.parse(b'{"name": "a", "version": "0.1.0"}')
    assert (manifest.image, manifest.command, manifest.input_schema) == ("default", ("./run",), {"type": "object"})


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"name": "My Agent"}, "/name"),
        ({"name": "a" * 64}, "/name"),
        ({"name": "-a"}, "/name"),
        ({"name": None}, "/name"),
        ({"name": 5}, "/name"),
        ({"version": "1"}, "/version"),
        ({"version": "../1.2.3"}, "/version"),
        ({"description": ["x"]}, "/description"),
        ({"image": "../default"}, "/image"),
        ({"command": []}, "/command"),
        ({"command": "./run"}, "/command"),
        ({"command": ["./run", 5]}, "/command/1"),
        ({"command": ["./run", "a\0"]}, "/command/1"),
        ({"command": ["/bin/sh"]}, "/command/0"),
        ({"command": ["../run"]}, "/command/0"),
        ({"command": ["./other"]}, "/command/0"),
        ({"command": ["./agent.json"]}, "/command/0"),
        ({"input_schema": True}, "/input_schema"),
        ({"secrets/x": 1}, "/secrets~1x"),
    ],
)
def test_manifests_with_faults_name_the_field(change: dict[str, Any], field: str) -> None:
    with pytest.raises(ManifestError) as error:
        bundle.read(tar(json.dumps({**GOOD, **change}).encode()))
    assert error.value.field == field
    assert error.value.reason


@pytest.mark.parametrize(
    "text", [b"", b"{", b"[]", b"\xff", b'{"name": "a", "name": "b"}', b"[" * 100000, b'"x"', b"null"]
)
def test_manifests_that_are_none(text: bytes) -> None:
    with pytest.raises(ManifestError):
        bundle.read(tar(text))


@pytest.mark.parametrize(
    "fields",
    [
        {"name": "../x"},
        {"name": "/etc/x"},
        {"name": "a/../../x"},
        {"name": "a//b"},
        {"name": "./x"},
        {"name": "a\\b"},
        {"name": "a\nb"},
        {"name": "x" * 300},
        {"type": tarfile.SYMTYPE},
        {"type": tarfile.LNKTYPE},
        {"type": tarfile.CHRTYPE},
        {"type": tarfile.FIFOTYPE},
        {"times": 2},
        {"name": "run/x"},
        {"name": "agent.json"},
    ],
)
def test_members_that_could_do_harm(fields: dict[str, Any]) -> None:
    with pytest.raises(ManifestError):
        bundle.read(tar(extra=fields))


def test_too_much(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundle, "FILES_LIMIT", 5)
    with pytest.raises(ManifestError, match="more than 5 files"):
        bundle.read(tar(f={}, g={}, h={}, i={}, j={}))
    monkeypatch.setattr(bundle, "SIZE_LIMIT", 100)
    with pytest.raises(ManifestError, match="larger"):
        bundle.read(tar())


def test_folders_with_links_or_nothing_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="not a folder"):
        bundle.pack(tmp_path / "none")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ManifestError, match="missing"):
        bundle.pack(tmp_path / "empty")
    bad = folder(tmp_path / "bad")
    (bad / "link").symlink_to("/etc/passwd")
    with pytest.raises(ManifestError) as error:
        bundle.pack(bad)
    assert error.value.field == "link"


@given(st.binary(max_size=2000))
def test_any_bytes_are_a_bundle_or_an_error(data: bytes) -> None:
    for candidate in (data, tar()[: len(data)] + data):
        with contextlib.suppress(ManifestError):
            bundle.read(candidate)


@given(
    st.recursive(
        st.none() | st.text() | st.integers(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
    )
)
def test_any_json_is_a_manifest_or_an_error(value: Any) -> None:
    with contextlib.suppress(ManifestError):
        assert bundle.parse(json.dumps(value).encode()).name == value["name"]
