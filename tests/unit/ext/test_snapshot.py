from __future__ import annotations

import ctypes
import errno
import fcntl
import hashlib
import mmap
import os
from collections.abc import Callable, Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ext import snapshot
from tests.fakes import ext_oracle as oracle

PAGE = mmap.PAGESIZE
MIB = 1 << 20

Images = Callable[[bytes], int]


@pytest.fixture
def image(clean: None) -> Iterator[Images]:
    """Makes files with a given content; they are closed in the end."""
    opened = []

    def make(content: bytes) -> int:
        opened.append(os.memfd_create("test"))
        os.write(opened[-1], content)
        return opened[-1]

    yield make
    for fd in opened:
        os.close(fd)


def content(fd: int) -> bytes:
    return os.pread(fd, os.fstat(fd).st_size, 0)


def sparse_image(pages: int, written: dict[int, bytes]) -> bytes:
    data = bytearray(pages * PAGE)
    for page, text in written.items():
        data[page * PAGE : page * PAGE + len(text)] = text
    return bytes(data)


pages = st.lists(st.sampled_from([b"\0" * PAGE, b"\1" * PAGE, b"\0" * (PAGE - 1) + b"x", b"x" + b"\0" * (PAGE - 1)]))


@given(body=pages, tail=st.binary(max_size=100))
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_save_and_digest_do_as_the_twin_does(body: list[bytes], tail: bytes) -> None:
    data = b"".join(body) + tail + b"."
    source, ours, theirs = (os.memfd_create(name) for name in ("source", "ours", "theirs"))
    try:
        os.write(source, data)
        os.write(ours, b"what was there before" * 1000)
        assert snapshot.digest(source, len(data)) == oracle.digest(source, len(data))
        assert snapshot.save(source, len(data), ours) == oracle.save(source, len(data), theirs)
        assert content(ours) == content(theirs) == data
        assert os.fstat(ours).st_blocks == os.fstat(theirs).st_blocks
    finally:
        for fd in (source, ours, theirs):
            os.close(fd)


def test_seal_copies_the_image_and_keeps_zero_pages_as_holes(image: Images) -> None:
    data = sparse_image(1024, {0: b"first", 255: b"a" * PAGE * 2, 600: b"z", 1023: b"last"})
    source, digest = image(data), hashlib.sha256(data).digest()
    ours, theirs = snapshot.seal(source, len(data), digest), oracle.seal(source, len(data), digest)
    try:
        assert content(ours) == data
        assert not os.get_inheritable(ours)
        assert os.fstat(ours).st_blocks == os.fstat(theirs).st_blocks == 5 * PAGE // 512
    finally:
        os.close(ours)
        os.close(theirs)


ATTACKS: dict[str, Callable[[int], object]] = {
    "write": lambda fd: os.pwrite(fd, b"lie", 0),
    "shrink": lambda fd: os.ftruncate(fd, PAGE),
    "grow": lambda fd: os.ftruncate(fd, 8 * PAGE),
    "map": lambda fd: mmap.mmap(fd, PAGE, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE),
    "unseal": lambda fd: fcntl.fcntl(fd, fcntl.F_ADD_SEALS, 0),
    "punch a hole": lambda fd: oracle.check(oracle.LIBC.fallocate(fd, 3, ctypes.c_long(PAGE), ctypes.c_long(PAGE))),
}


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)
def test_a_sealed_image_cannot_be_altered(image: Images, attack: Callable[[int], object]) -> None:
    data = sparse_image(4, {1: b"truth"})
    sealed = snapshot.seal(image(data), len(data), hashlib.sha256(data).digest())
    again = os.open(f"/proc/self/fd/{sealed}", os.O_RDWR | os.O_CLOEXEC)
    try:
        for fd in (sealed, again):
            with pytest.raises(OSError, match=r"not permitted|denied"):
                attack(fd)
        assert content(sealed) == data
    finally:
        os.close(sealed)
        os.close(again)


@pytest.mark.parametrize(
    ("size", "digest"),
    [(4 * PAGE, b"\0" * 32), (4 * PAGE, b""), (3 * PAGE, None), (5 * PAGE, None)],
    ids=["other content", "no digest", "longer file", "shorter file"],
)
def test_an_image_that_is_not_the_promised_one_is_refused(image: Images, size: int, digest: bytes | None) -> None:
    data = sparse_image(4, {1: b"truth"})
    promised = hashlib.sha256(data[:size]).digest() if digest is None else digest

    with pytest.raises(snapshot.ImageMismatch):
        snapshot.seal(image(data), size, promised)


def test_a_truncated_image_has_no_digest(image: Images) -> None:
    with pytest.raises(snapshot.ImageMismatch, match="ends at 5 of 6 bytes"):
        snapshot.digest(image(b"12345"), 6)


@pytest.mark.parametrize("size", [0, -PAGE, PAGE + 1])
def test_sizes_of_images_are_checked(image: Images, size: int) -> None:
    with pytest.raises(ValueError, match="size"):
        snapshot.seal(image(b"x"), size, b"")
    with pytest.raises(ValueError, match="size"):
        snapshot.Mapping(image(b"x"), size)


def test_errors_name_the_step() -> None:
    read_end, write_end = os.pipe()
    try:
        with pytest.raises(OSError, match="read the image") as caught:
            snapshot.digest(read_end, PAGE)
        assert caught.value.errno == errno.ESPIPE
        with pytest.raises(OSError, match="size the saved image") as caught:
            snapshot.save(read_end, PAGE, write_end)
        assert caught.value.errno == errno.EINVAL
    finally:
        os.close(read_end)
        os.close(write_end)


def test_populate_brings_in_the_ranges_and_working_set_finds_them(image: Images) -> None:
    source = image(b"x" * MIB)
    inode = os.fstat(source).st_ino
    mapping = snapshot.Mapping(source, MIB)
    try:
        assert snapshot.working_set(os.getpid(), inode, MIB) == []
        assert mapping.populate([(0, 4 * PAGE), (128 * PAGE, 2 * PAGE)]) == 6 * PAGE

        found = snapshot.working_set(os.getpid(), inode, MIB)

        assert found == oracle.working_set(os.getpid(), inode, MIB)
        touched = {page for offset, length in found for page in range(offset // PAGE, (offset + length) // PAGE)}
        assert touched >= {0, 1, 2, 3, 128, 129}
        assert snapshot.private_bytes(os.getpid(), inode) == 0
        assert snapshot.working_set(os.getpid(), inode, 2 * PAGE) == [(0, 2 * PAGE)]
    finally:
        mapping.close()
    mapping.close()
    assert snapshot.working_set(os.getpid(), inode, MIB) == []
    with pytest.raises(ValueError, match="closed"):
        mapping.populate([])


@pytest.mark.parametrize(
    "span", [(0, 1), (1, PAGE), (-PAGE, PAGE), (0, -PAGE), (0, 5 * PAGE), (8 * PAGE, PAGE), (2**62, 2**62)]
)
def test_populate_stays_inside_the_image(image: Images, span: tuple[int, int]) -> None:
    mapping = snapshot.Mapping(image(b"x" * 4 * PAGE), 4 * PAGE)
    with pytest.raises(ValueError, match="inside the image"):
        mapping.populate([(0, PAGE), span])
    mapping.close()


def test_a_mapping_beyond_the_end_is_refused(image: Images) -> None:
    with pytest.raises(snapshot.ImageMismatch):
        snapshot.Mapping(image(b"x" * PAGE), 2 * PAGE)


def test_private_bytes_counts_what_was_written(image: Images) -> None:
    source = image(b"x" * MIB)
    with mmap.mmap(source, MIB, mmap.MAP_PRIVATE) as private:
        assert private[5 * PAGE] == ord("x")
        for page in (3, 7, 200):
            private[page * PAGE] = 0
        assert snapshot.private_bytes(os.getpid(), os.fstat(source).st_ino) == 3 * PAGE


def test_a_process_that_is_gone_has_no_memory() -> None:
    with pytest.raises(FileNotFoundError):
        snapshot.working_set(2**22 + 1, 1, PAGE)
    with pytest.raises(FileNotFoundError):
        snapshot.private_bytes(2**22 + 1, 1)
