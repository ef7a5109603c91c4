from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from hostd.errors import TemplateError
from hostd.pool import disk
from hostd.pool.disk import Disks, clone
from tests.fakes.leaks import nothing_left

MIB = 1 << 20


def features(fd: int) -> str:
    command = ["dumpe2fs", "-h", f"/proc/self/fd/{fd}"]
    return subprocess.run(command, pass_fds=[fd], capture_output=True, text=True, check=True).stdout


async def test_a_clone_is_an_empty_file_system_of_its_own(tmp_path: Path) -> None:
    if shutil.which("dumpe2fs") is None:
        pytest.skip("e2fsprogs is not installed")
    disks = Disks(tmp_path)
    one, two = [await disks.clone(256) for _ in range(2)]
    try:
        for fd in (one, two):
            assert os.fstat(fd).st_nlink == 0
            assert os.fstat(fd).st_size == 256 * MIB
            assert os.fstat(fd).st_blocks * 512 < 4 * MIB, "a clone takes next to no space"
        assert "has_journal" not in features(one)
        os.pwrite(one, b"changed", 1024)
        assert os.pread(two, 7, 1024) != b"changed"
    finally:
        os.close(one)
        os.close(two)


def test_holes_stay_holes_and_data_stays_data(tmp_path: Path) -> None:
    source = tmp_path / "source"
    with source.open("wb") as file:
        file.truncate(64 * MIB)
        os.pwrite(file.fileno(), b"begin", 0)
        os.pwrite(file.fileno(), b"middle", 20 * MIB)
        os.pwrite(file.fileno(), b"end", 64 * MIB - 3)
    with nothing_left():
        fd = clone(source, tmp_path)
        with os.fdopen(fd, "rb") as copy:
            assert copy.read() == source.read_bytes()
            assert os.fstat(fd).st_blocks * 512 < MIB
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


async def test_an_interrupted_make_is_not_taken_for_a_file_system(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*args: object, **named: object) -> str:
        raise TemplateError("mkfs.ext4 failed")

    monkeypatch.setattr(disk, "run", fail)
    with pytest.raises(TemplateError):
        await Disks(tmp_path).clone(64)
    assert not any(os.scandir(tmp_path))
