"""Limits that replicas share, with a real Redis that comes and goes."""

from __future__ import annotations

import asyncio
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest
from redis import Redis
from redis.exceptions import RedisError

from controlplane.api.stages.ratelimit import RateLimit
from controlplane.domain.allowance import Allowance
from controlplane.domain.call import Principal, Role
from controlplane.errors import RateLimited
from controlplane.ratelimits import shared
from controlplane.ratelimits.shared import Shared
from controlplane.ratelimits.window import Window
from controlplane.secret import Secret

SERVER = shutil.which("redis-server")
pytestmark = pytest.mark.skipif(SERVER is None, reason="needs redis-server: deploy/packages.sh")
SOMEBODY = Principal("address:9.9.9.9", Role.PUBLIC)
LIMIT = 5


class Server:
    """A Redis on a socket of its own, without persistence."""

    def __init__(self, folder: Path) -> None:
        self.socket = folder / "redis.sock"
        self.url = Secret(f"unix://{self.socket}")
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        arguments = ("--port", "0", "--unixsocket", str(self.socket), "--save", "", "--dir", str(self.socket.parent))
        self._process = subprocess.Popen([str(SERVER), *arguments], stdout=subprocess.DEVNULL)
        with Redis(unix_socket_path=str(self.socket)) as client:
            for _ in range(500):
                try:
                    client.ping()
                except RedisError:
                    signal.sigtimedwait((), 0.02)
                else:
                    return
        raise TimeoutError("redis-server does not answer")

    def send(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def stop(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)
            self._process.kill()
            self._process.wait()
            self._process = None


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    made = Server(tmp_path)
    made.start()
    yield made
    made.stop()


class Replicas:
    """Two processes' worth of limiters, and a clock that only tells when Redis is tried again."""

    def __init__(self, server: Server) -> None:
        self.now = 0.0
        self.shared = [Shared(server.url, Window(), lambda: self.now) for _ in range(2)]
        self.limits = [RateLimit({"auth": LIMIT}, admin=1, shared=each) for each in self.shared]

    async def storm(self, calls: int) -> int:
        """How many of them were allowed, of each replica's half."""
        given = [self.limits[number % 2].take(SOMEBODY, "auth") for number in range(calls)]
        results = await asyncio.gather(*given, return_exceptions=True)
        assert all(result is None or isinstance(result, RateLimited) for result in results), results
        return results.count(None)


@pytest.fixture
async def replicas(server: Server, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Replicas]:
    monkeypatch.setattr(shared, "PATIENCE_S", 2.0)  # a busy machine may take its time to answer
    made = Replicas(server)
    yield made
    for each in made.shared:
        await each.close()


async def test_replicas_share_a_limit(replicas: Replicas) -> None:
    assert await replicas.storm(40) == LIMIT


async def test_when_redis_dies_in_a_storm_each_replica_goes_on_within_the_limit(
    server: Server, replicas: Replicas
) -> None:
    allowed = await replicas.storm(4)
    server.stop()
    for _ in range(5):
        allowed += await replicas.storm(40)
    assert LIMIT <= allowed <= 2 * LIMIT


def noted(ask: Callable[[str, int], Awaitable[Allowance]], asked: list[str]) -> Callable[..., Awaitable[Allowance]]:
    def also(key: str, limit: int) -> Awaitable[Allowance]:
        asked.append(key)
        return ask(key, limit)

    return also


async def test_a_redis_that_hangs_holds_nobody_up_twice(
    server: Server, replicas: Replicas, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.send(signal.SIGSTOP)
    asked: list[str] = []
    for each in replicas.shared:
        monkeypatch.setattr(each, "_ask", noted(each._ask, asked))
    assert await replicas.storm(4) == 4
    first = len(asked)
    assert LIMIT <= 4 + await replicas.storm(40) <= 2 * LIMIT
    assert len(asked) == first


async def test_once_redis_is_back_limits_are_shared_again(server: Server, replicas: Replicas) -> None:
    server.stop()
    assert await replicas.storm(2) == 2
    server.start()
    replicas.now += 2
    assert await replicas.storm(2) == 2  # each tries, and finds it
    assert 4 + await replicas.storm(40) <= LIMIT + 2
    with Redis(unix_socket_path=str(server.socket)) as client:
        assert client.dbsize() == 1


async def test_another_server_takes_over_when_the_secret_names_it(
    server: Server, replicas: Replicas, tmp_path: Path
) -> None:
    (tmp_path / "b").mkdir()
    other = Server(tmp_path / "b")
    other.start()
    try:
        for each in replicas.shared:
            each.renew(other.url)
        assert await replicas.storm(40) == LIMIT
        with Redis(unix_socket_path=str(other.socket)) as client:
            assert client.dbsize() == 1
    finally:
        other.stop()
