"""Threads hammer the pool; no VM may reach two takers, and none may get lost."""

from __future__ import annotations

import itertools
import os
import random
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator

import pytest

from ext.vmpool import VmPool

CAPACITY, THREADS, SECONDS = 16, 8, 10.0


class Ledger:
    """Who holds which VM. Each VM is a token; its control number follows from it, so a mix-up shows."""

    def __init__(self, pool: VmPool) -> None:
        self.pool = pool
        self.fresh = itertools.count()
        self.holders: Counter[int] = Counter()
        self.counts: Counter[str] = Counter()
        self.retired: set[int] = set()
        self.lock = threading.Lock()

    def count(self, name: str) -> None:
        with self.lock:
            self.counts[name] += 1

    def hold(self, token: int) -> None:
        with self.lock:
            self.holders[token] += 1
            assert self.holders[token] == 1, f"VM {token} was handed out twice"
            assert token not in self.retired, f"VM {token} came back from the dead"

    def release(self, token: int) -> None:
        with self.lock:
            del self.holders[token]

    def retire(self, token: int) -> None:
        with self.lock:
            del self.holders[token]
            self.retired.add(token)

    def offer_new(self) -> None:
        """A fresh VM; one that finds no room is retired at once."""
        token = next(self.fresh)
        if self.pool.put(token, control(token)):
            self.count("made")
        else:
            self.count("full")


def control(token: int) -> int:
    return token % 1000 + 3


def attempt(ledger: Ledger, rng: random.Random) -> None:
    """Acquire one, then use it up or be cancelled and give it back; sometimes one dies inside the pool."""
    if rng.random() < 0.1:
        newest = next(ledger.fresh)
        victim = rng.randrange(max(0, newest - 2 * CAPACITY), newest + 1)
        if ledger.pool.take(victim):
            ledger.hold(victim)
            ledger.retire(victim)
            ledger.count("died")
    got = ledger.pool.acquire()
    if got is None:
        ledger.offer_new()
        return
    token, fd = got
    assert fd == control(token)
    ledger.hold(token)
    if rng.random() < 0.2:
        time.sleep(0)
    if rng.random() < 0.5:  # cancelled before it was used
        ledger.release(token)
        if ledger.pool.put(token, fd):
            ledger.count("returned")
            return
        ledger.hold(token)
    ledger.retire(token)
    ledger.count("used")
    ledger.offer_new()


@pytest.fixture
def quick_switches() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def test_hammered_by_threads_with_random_cancellation(quick_switches: None) -> None:
    seed = int(os.environ.get("SWARM_SEED", time.time_ns() & 0xFFFFFFFF))
    print(f"SWARM_SEED={seed}")  # noqa: T201
    ledger = Ledger(VmPool(CAPACITY))
    failures: list[BaseException] = []
    deadline = time.monotonic() + SECONDS

    def work(number: int) -> None:
        rng = random.Random(seed + number)
        try:
            while time.monotonic() < deadline and not failures:
                attempt(ledger, rng)
        except BaseException as failure:  # noqa: BLE001
            failures.append(failure)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert failures == []
    assert ledger.holders.total() == 0
    left = len(ledger.pool)
    drained = [ledger.pool.acquire() for _ in range(left)]
    assert ledger.pool.acquire() is None
    assert len({token for token, _ in filter(None, drained)}) == left
    assert ledger.counts["made"] == ledger.counts["used"] + ledger.counts["died"] + left
    assert min(ledger.counts[name] for name in ("made", "used", "returned", "died")) > 0
