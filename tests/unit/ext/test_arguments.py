"""Malformed arguments are refused before anything happens; so these need no privilege."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from ext import clock, netns, spawn

MAC, OTHER = bytes.fromhex("0600ac100001"), bytes.fromhex("0600ac100002")


@pytest.mark.parametrize("name", ["", "a" * 16, "a b", "a/b", ".", "..", "a:0", "tap\0", "tap\n"])
def test_interface_names_are_checked(name: str) -> None:
    with pytest.raises(ValueError, match="interface name"):
        netns.build(name, "172.16.0.1", 30, MAC, "172.16.0.2", OTHER, 8000)


@pytest.mark.parametrize("ip", ["", "172.16.0", "172.16.0.256", "::1", "localhost", "1.2.3.4\0", "1.2.3.4/8"])
def test_addresses_are_checked(ip: str) -> None:
    with pytest.raises(ValueError, match="IPv4"):
        netns.build("tap0", ip, 30, MAC, "172.16.0.2", OTHER, 8000)
    with pytest.raises(ValueError, match="IPv4"):
        netns.build("tap0", "172.16.0.1", 30, MAC, ip, OTHER, 8000)


@pytest.mark.parametrize("prefix", [-1, 0, 33])
def test_prefixes_are_checked(prefix: int) -> None:
    with pytest.raises(ValueError, match="prefix"):
        netns.address(0, "tap0", "172.16.0.1", prefix)


@pytest.mark.parametrize("mac", [b"", b"\0" * 5, b"\0" * 7])
def test_macs_are_checked(mac: bytes) -> None:
    with pytest.raises(ValueError, match="six bytes"):
        netns.tap(0, "tap0", mac)


@pytest.mark.parametrize("port", [-1, 65536])
def test_ports_are_checked(port: int) -> None:
    with pytest.raises(ValueError, match="port"):
        netns.listener(0, "172.16.0.1", port)


def test_no_descriptor_does_not_mean_a_new_namespace() -> None:
    with pytest.raises(ValueError, match="descriptor"):
        netns.datagram(-1)
    with pytest.raises(ValueError, match="descriptor"):
        netns.up(-1, "lo")


@pytest.mark.parametrize(("argv", "env"), [([], []), ([b"/bin/true\0"], []), ([b"/bin/true"], [b"A=\0"])])
def test_programs_are_checked(argv: Sequence[bytes], env: Sequence[bytes]) -> None:
    with pytest.raises(ValueError, match=r"empty|NUL"):
        spawn.spawn(argv, env, uid=65534, gid=65534)


@pytest.mark.parametrize("fds", [[(0, -1)], [(-1, 0)], [(0, 5), (1, 5)]])
def test_descriptors_are_checked(fds: Sequence[tuple[int, int]]) -> None:
    with pytest.raises(ValueError, match="descriptors"):
        spawn.spawn([b"/bin/true"], [], uid=65534, gid=65534, fds=fds)


@pytest.mark.parametrize(("uid", "gid"), [(2**32 - 1, 65534), (65534, 2**32 - 1)])
def test_an_id_that_changes_nothing_is_refused(uid: int, gid: int) -> None:
    with pytest.raises(ValueError, match="identity"):
        spawn.spawn([b"/bin/true"], [], uid=uid, gid=gid)


@pytest.mark.parametrize("uid", [-1, 2**32])
def test_an_id_out_of_range_is_refused(uid: int) -> None:
    with pytest.raises(OverflowError):
        spawn.spawn([b"/bin/true"], [], uid=uid, gid=65534)


def test_the_counter_runs_at_the_pace_that_is_measured() -> None:
    first, second = clock.tsc_khz(), clock.tsc_khz()
    assert abs(first - second) <= first // 1000
