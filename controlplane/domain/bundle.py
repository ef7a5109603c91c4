"""Bundles of agents: a folder as one deterministic tar, and the manifest inside it, checked to the last field."""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from controlplane.domain.circuit import UPSTREAMS
from controlplane.domain.manifest import (
    DESCRIPTION_LIMIT,
    IMAGE,
    NAME,
    VERSION,
    ManifestError,
    decode,
    matching,
    members,
    text_of,
)

MANIFEST = "agent.json"
SIZE_LIMIT = 64 << 20
FILES_LIMIT = 2000
MANIFEST_LIMIT = 256 << 10
_PATH_LIMIT = 240
_SKIPPED = ("__pycache__", ".git", ".DS_Store")
_FIELDS = ("name", "version", "description", "image", "command", "input_schema", "external", "upstreams")


@dataclass(frozen=True, slots=True)
class Manifest:
    """The content of agent.json. Whether `input_schema` is a good schema is checked where schemas are used."""

    name: str
    version: str
    description: str
    image: str
    command: tuple[str, ...]
    input_schema: Mapping[str, Any]
    external: bool = False
    upstreams: tuple[str, ...] = ()


def digest(data: bytes) -> str:
    """The sha256 of a bundle, in hex."""
    return hashlib.sha256(data).hexdigest()


def pack(folder: Path) -> bytes:
    """A tar of the folder that depends on names, contents and executable bits alone. `ManifestError`."""
    if not folder.is_dir():
        raise ManifestError(str(folder), "not a folder")
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for path in sorted(folder.rglob("*"), key=lambda p: p.relative_to(folder).as_posix()):
            relative = path.relative_to(folder)
            if not any(part in _SKIPPED for part in relative.parts):
                _add(archive, path, relative.as_posix())
    data = buffer.getvalue()
    read(data)
    return data


def _add(archive: tarfile.TarFile, path: Path, name: str) -> None:
    if path.is_symlink() or not (path.is_file() or path.is_dir()):
        raise ManifestError(name, "only plain files and folders can be in a bundle")
    if path.is_dir():
        return
    info = tarfile.TarInfo(name)
    info.size = path.stat().st_size
    info.mode = 0o755 if path.stat().st_mode & 0o100 else 0o644
    if info.size > SIZE_LIMIT:
        raise ManifestError(name, f"larger than {SIZE_LIMIT >> 20} MiB")
    try:
        with path.open("rb") as file:
            archive.addfile(info, file)
    except ValueError as error:
        raise ManifestError(name[:_PATH_LIMIT], str(error)) from None


def read(data: bytes) -> Manifest:
    """The manifest of a bundle whose every member is a plain file or folder below its top. `ManifestError`."""
    if len(data) > SIZE_LIMIT:
        raise ManifestError("", f"larger than {SIZE_LIMIT >> 20} MiB")
    members: dict[str, tarfile.TarInfo] = {}
    manifest = b""
    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as archive:
            for member in archive:
                _check_member(member, members)
                if member.name == MANIFEST:
                    manifest = _content(archive, member)
    except (tarfile.TarError, EOFError, ValueError, OverflowError) as error:
        if isinstance(error, ManifestError):
            raise
        raise ManifestError("", f"not a tar archive: {error}") from None
    if not manifest:
        raise ManifestError(MANIFEST, "missing or empty")
    parsed = parse(manifest)
    if parsed.command:
        _check_program(parsed.command[0], members)
    return parsed


def _check_member(member: tarfile.TarInfo, members: dict[str, tarfile.TarInfo]) -> None:
    name, parts = member.name, member.name.split("/")
    if not name or len(name) > _PATH_LIMIT or not name.isprintable() or "\\" in name:
        raise ManifestError(name[:_PATH_LIMIT], f"a path has 1 to {_PATH_LIMIT} printable characters")
    if name.startswith("/") or any(part in ("", ".", "..") for part in parts):
        raise ManifestError(name, "a path lies below the bundle's top")
    if not (member.isreg() or member.isdir()):
        raise ManifestError(name, "only plain files and folders can be in a bundle")
    if name in members or any(
        parent in members and members[parent].isreg()
        for parent in ("/".join(parts[:at]) for at in range(1, len(parts)))
    ):
        raise ManifestError(name, "occurs twice")
    members[name] = member
    if len(members) > FILES_LIMIT:
        raise ManifestError("", f"more than {FILES_LIMIT} files")


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    if member.size > MANIFEST_LIMIT:
        raise ManifestError(MANIFEST, f"larger than {MANIFEST_LIMIT >> 10} KiB")
    file = archive.extractfile(member)
    return file.read() if file else b""


def _check_program(command: str, members: Mapping[str, tarfile.TarInfo]) -> None:
    """A program of the bundle exists and may be executed; one without a slash is of the image."""
    if "/" not in command:
        return
    member = members.get(command.removeprefix("./"))
    if member is None or not member.isreg():
        raise ManifestError("/command/0", f"{command} is not in the bundle")
    if not member.mode & 0o100:
        raise ManifestError("/command/0", f"{command} is not executable")


def parse(text: bytes) -> Manifest:
    """The content of agent.json. `ManifestError` names the first field that is wrong."""
    value = members(decode(text), _FIELDS)
    external = _external(value)
    return Manifest(
        name=matching(value, "name", NAME),
        version=matching(value, "version", VERSION),
        description=text_of(value, "description", DESCRIPTION_LIMIT, default=""),
        image=matching({"image": "default", **value}, "image", IMAGE),
        command=() if external else _command(value),
        input_schema=_schema(value),
        external=external,
        upstreams=_upstreams(value),
    )


def _command(value: Mapping[str, Any]) -> tuple[str, ...]:
    command = value.get("command", ["./run"])
    if not isinstance(command, list) or not 1 <= len(command) <= 64:  # noqa: PLR2004
        raise ManifestError("/command", "a list of 1 to 64 strings is expected")
    for index, word in enumerate(command):
        if not isinstance(word, str) or not word or len(word) > 4096 or "\0" in word:  # noqa: PLR2004
            raise ManifestError(f"/command/{index}", "a string of 1 to 4096 characters without NUL is expected")
    program = command[0]
    if program.startswith("/") or ".." in program.split("/"):
        raise ManifestError("/command/0", "a program of the bundle, or of the image by its bare name")
    return tuple(command)


def _external(value: Mapping[str, Any]) -> bool:
    """Whether programs with a sandbox of their own run it: nothing of the bundle is run then."""
    external = value.get("external", False)
    if not isinstance(external, bool):
        raise ManifestError("/external", "true or false is expected")
    for field in ("command", "image"):
        if external and field in value:
            raise ManifestError(f"/{field}", "an external agent has none: it brings its own sandbox")
    return external


def _upstreams(value: Mapping[str, Any]) -> tuple[str, ...]:
    """What it cannot work without, so that it is not placed while that fails."""
    named = value.get("upstreams", [])
    if not isinstance(named, list) or not all(isinstance(each, str) and each in UPSTREAMS for each in named):
        raise ManifestError("/upstreams", f"a list is expected, of {', '.join(sorted(UPSTREAMS))}")
    return tuple(dict.fromkeys(named))


def _schema(value: Mapping[str, Any]) -> Mapping[str, Any]:
    schema = value.get("input_schema", {"type": "object"})
    if not isinstance(schema, dict):
        raise ManifestError("/input_schema", "an object is expected")
    return schema
