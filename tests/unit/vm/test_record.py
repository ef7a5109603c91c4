from __future__ import annotations

import json
import os
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostd import record
from hostd.errors import DamagedStateError
from hostd.pool.handle import Handle
from hostd.ports import Tier
from hostd.templates.manifest import Content, Identity, Manifest


@dataclass(frozen=True, slots=True)
class Leaf:
    count: int
    share: float


@dataclass(frozen=True, slots=True)
class Tree:
    name: str
    leaves: tuple[Leaf, ...]
    by_name: dict[str, Leaf]
    ranges: tuple[tuple[int, ...], ...]
    tier: Tier


TREE = Tree("t", (Leaf(1, 0.5),), {"x": Leaf(2, 1.0)}, ((0, 4096), (8192, 4096)), Tier.T1S)
IDENTITY = Identity("default", "i" * 64, "qemu", "7.2", "microvm", "tcg", 1, 512, 4096)
MANIFEST = Manifest(1, IDENTITY, Content("a" * 64, 4096), Content("b" * 64, 4096), ((0, 4096),), 5)


def test_a_record_comes_back_as_it_was() -> None:
    assert record.decode(Tree, record.encode(TREE)) == TREE
    assert record.decode(Manifest, record.encode(MANIFEST)) == MANIFEST


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"name": 1}, "/name"),
        ({"extra": 1}, "/extra is unknown"),
        ({"leaves": [{"count": True, "share": 0.5}]}, "/leaves/0/count"),
        ({"leaves": [{"count": 1}]}, "/leaves/0/share is missing"),
        ({"ranges": [["0"]]}, "/ranges/0/0"),
        ({"tier": "T9"}, "T9"),
        ({"by_name": []}, "/by_name"),
    ],
)
def test_the_wrong_field_is_named(change: dict[str, object], named: str) -> None:
    data = json.loads(record.encode(TREE)) | change
    with pytest.raises(ValueError, match=named):
        record.decode(Tree, json.dumps(data).encode())


@given(st.binary(max_size=300))
def test_any_bytes_are_refused_with_a_value_error(data: bytes) -> None:
    with pytest.raises(ValueError):
        record.decode(Handle, data)


@pytest.mark.parametrize("data", [b"", b"\0" * 10, b"[" * 100_000, b"x" * (record.LARGEST + 1)])
def test_a_damaged_file_is_one_clear_line(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "handle.json"
    path.write_bytes(data)
    with pytest.raises(DamagedStateError) as caught:
        record.load(Handle, path, "remove it")
    assert str(path) in str(caught.value)
    assert str(caught.value).endswith("remove it")
    assert "\n" not in str(caught.value)


def test_links_and_pipes_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "real").write_bytes(record.encode(MANIFEST))
    (tmp_path / "link").symlink_to(tmp_path / "real")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="symbolic links"):
        record.load(Manifest, tmp_path / "link", "")
    with pytest.raises(DamagedStateError):
        record.load(Manifest, tmp_path / "pipe", "")


def test_a_template_is_named_by_all_that_is_restored_and_nothing_else() -> None:
    same = replace(MANIFEST, working_set=(), baked_ns=6)
    assert same.digest == MANIFEST.digest
    others = [
        replace(MANIFEST, memory=Content("c" * 64, 4096)),
        replace(MANIFEST, state=Content("c" * 64, 4096)),
        replace(MANIFEST, identity=replace(IDENTITY, driver_version="8.0")),
        replace(MANIFEST, identity=replace(IDENTITY, cpu_class="kvm-1")),
    ]
    assert len({MANIFEST.digest, *(other.digest for other in others)}) == 5
