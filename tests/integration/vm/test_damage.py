"""Images and templates that were changed on disk are refused in one line, before anything starts from them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from hostd import record
from hostd.errors import DamagedStateError, NotFoundError
from hostd.images import store as images
from hostd.images.recipe import DEFAULT
from hostd.images.store import OpenImage
from hostd.ports import VmSize
from hostd.templates.manifest import Content, Identity, Manifest
from hostd.templates.store import PAGE, TemplateStore
from tests.fakes.leaks import nothing_left

IMAGE_DIGEST = "1" * 64
IDENTITY = Identity("default", IMAGE_DIGEST, "qemu", "7.2", "microvm", "tcg", 1, 512, 4096)
IMAGE = cast("OpenImage", SimpleNamespace(digest=IMAGE_DIGEST))


def content(data: bytes) -> Content:
    return Content(hashlib.sha256(data).hexdigest(), len(data))


@pytest.fixture
def store(tmp_path: Path) -> TemplateStore:
    return TemplateStore(tmp_path / "templates")


@pytest.fixture
def template(store: TemplateStore) -> Path:
    memory, state = b"m" * PAGE + b"\0" * 3 * PAGE, b"s" * PAGE
    scratch = store.scratch()
    (scratch / "memory").write_bytes(memory)
    (scratch / "state").write_bytes(state)
    return store.publish(scratch, Manifest(1, IDENTITY, content(memory), content(state), ((0, PAGE),), 7))


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def rewrite(path: Path, **changes: Any) -> None:
    manifest = record.decode(Manifest, path.read_bytes())
    path.write_bytes(record.encode(replace(manifest, **changes)))


def enlarge(path: Path) -> None:
    os.truncate(path, 1 << 40)


def link(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")


def swap(path: Path) -> None:
    path.write_bytes((path.parent / "state").read_bytes() * 4)


DAMAGE: dict[str, tuple[str, Callable[[Path], object]]] = {
    "bit flip in the memory": ("memory", flip),
    "bit flip in the state": ("state", flip),
    "truncated memory": ("memory", lambda path: os.truncate(path, PAGE)),
    "empty memory": ("memory", lambda path: path.write_bytes(b"")),
    "sparse terabyte": ("memory", enlarge),
    "missing state": ("state", Path.unlink),
    "memory is a link": ("memory", link),
    "memory and state swapped": ("memory", swap),
    "manifest is not JSON": ("manifest.json", lambda path: path.write_bytes(b"{")),
    "manifest is empty": ("manifest.json", lambda path: path.write_bytes(b"")),
    "manifest is gone": ("manifest.json", Path.unlink),
    "manifest of another version": ("manifest.json", lambda path: rewrite(path, version=2)),
    "manifest of another driver": (
        "manifest.json",
        lambda path: rewrite(path, identity=replace(IDENTITY, driver_version="9.9")),
    ),
    "manifest that fits a changed memory": ("manifest.json", lambda path: rewrite(path, memory=content(b"x" * PAGE))),
}


@pytest.mark.parametrize("damage", DAMAGE)
async def test_a_damaged_template_is_refused(store: TemplateStore, template: Path, damage: str) -> None:
    name, apply = DAMAGE[damage]
    apply(template / name)
    with nothing_left(), pytest.raises(DamagedStateError) as caught:
        await store.open(template, IMAGE)
    text = str(caught.value)
    assert str(template) in text
    assert "\n" not in text
    assert "baked again" in text
    assert len(await store.verify("all")) == 1


async def test_a_whole_template_is_sealed(store: TemplateStore, template: Path) -> None:
    sealed = await store.open(template, IMAGE)
    assert os.pread(sealed.memory, 4 * PAGE, 0) == (template / "memory").read_bytes()
    with pytest.raises(PermissionError):
        os.pwrite(sealed.memory, b"x", 0)
    assert sealed.digest == template.name
    sealed.close()
    assert await store.verify("all") == []
    assert await store.verify(template.name) == []
    with pytest.raises(NotFoundError):
        await store.verify("f" * 64)


async def test_a_template_of_another_image_is_refused(store: TemplateStore, template: Path) -> None:
    other = cast("OpenImage", SimpleNamespace(digest="2" * 64))
    with pytest.raises(DamagedStateError, match="another image"):
        await store.open(template, other)


@pytest.mark.parametrize(
    "change",
    [
        {"driver_version": "8.0"},
        {"cpu_class": "kvm-1"},
        {"machine": "q35"},
        {"image_digest": "3" * 64},
        {"memory_mib": 256},
        {"disk_mib": 1024},
        {"vcpus": 2},
    ],
)
def test_a_template_is_found_only_by_its_whole_identity(
    store: TemplateStore, template: Path, change: dict[str, Any]
) -> None:
    assert store.find(IDENTITY) == template
    assert store.find(replace(IDENTITY, **change)) is None


def test_a_damaged_manifest_hides_only_its_own_template(store: TemplateStore, template: Path) -> None:
    other = store.scratch()
    (other / "memory").write_bytes(b"o" * PAGE)
    (other / "state").write_bytes(b"s" * PAGE)
    identity = replace(IDENTITY, vcpus=2)
    store.publish(other, Manifest(1, identity, content(b"o" * PAGE), content(b"s" * PAGE), (), 8))
    (template / "manifest.json").write_bytes(b"[]")
    assert [found.vcpus for found in store.templates()] == [2]
    assert store.find(identity) is not None


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "default-0123456789abcdef"
    path.mkdir()
    for name in images.FILES:
        (path / name).write_bytes(name.encode() * 100)
    recipe = DEFAULT
    images._write_manifest(path, replace(recipe, size=VmSize(1, 128, 64)), "0123456789abcdef")
    return path


def test_a_whole_image_opens(image: Path) -> None:
    opened = images.open_verified(image)
    assert os.pread(opened.kernel, 6, 0) == b"kernel"
    assert opened.manifest.size == VmSize(1, 128, 64)
    opened.close()


@pytest.mark.parametrize("name", [*images.FILES, "manifest.json"])
@pytest.mark.parametrize("apply", [flip, Path.unlink, link, lambda path: path.write_bytes(b"")])
def test_a_damaged_image_is_refused(image: Path, name: str, apply: Callable[[Path], object]) -> None:
    apply(image / name)
    if name == "manifest.json" and apply is flip:
        (image / name).write_bytes((image / name).read_bytes() + b"}")
    with nothing_left(), pytest.raises(DamagedStateError) as caught:
        images.open_verified(image)
    assert "swarm image build" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_image_under_the_wrong_name_is_refused(image: Path) -> None:
    moved = image.rename(image.with_name("default-ffffffffffffffff"))
    with pytest.raises(DamagedStateError, match="does not describe"):
        images.open_verified(moved)
