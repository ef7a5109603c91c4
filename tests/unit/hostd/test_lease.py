"""Lease arithmetic with a clock in the test's hand."""

from __future__ import annotations

import asyncio

from hostd.lease import Lease, LeaseKeeper
from hostd.messages import AttemptRef, Renewal, Renewed

REF = AttemptRef("at_1", "tk_1", 1)


def test_a_new_host_is_fenced_until_a_renewal_succeeds() -> None:
    lease = Lease(30.0)
    assert lease.fenced(0.0)
    nonce = lease.send(10.0)
    assert lease.fenced(10.0)
    lease.renewed(nonce)
    assert not lease.fenced(10.0)


def test_the_host_fences_itself_30_s_after_sending_not_after_the_answer() -> None:
    lease = Lease(30.0)
    nonce = lease.send(100.0)
    lease.renewed(nonce)  # answered at, say, 125
    assert not lease.fenced(129.999)
    assert lease.fenced(130.0)
    assert lease.deadline() == 130.0


def test_an_answer_that_comes_too_late_does_not_unfence() -> None:
    lease = Lease(30.0)
    nonce = lease.send(0.0)
    lease.renewed(nonce)
    late = lease.send(5.0)
    assert lease.fenced(40.0)
    lease.renewed(late)
    assert lease.fenced(40.0)


def test_an_old_answer_never_shortens_the_lease_and_a_repeated_one_never_prolongs_it() -> None:
    lease = Lease(30.0)
    first, second = lease.send(0.0), lease.send(10.0)
    lease.renewed(second)
    lease.renewed(first)
    assert lease.deadline() == 40.0
    lease.renewed(second)
    lease.renewed(999)
    assert lease.deadline() == 40.0


def test_three_lost_renewals_are_survived() -> None:
    lease = Lease(30.0)
    lease.renewed(lease.send(0.0))
    for at in (5.0, 10.0, 15.0):
        lease.send(at)
    fourth = lease.send(20.0)
    assert not lease.fenced(21.0)
    lease.renewed(fourth)
    assert lease.deadline() == 50.0
    assert lease.oldest_unanswered() is None


def test_unanswered_renewals_are_bounded() -> None:
    lease = Lease(30.0)
    for second in range(10_000):
        lease.send(float(second))
    assert len(lease._sent) <= 64


class Target:
    def __init__(self) -> None:
        self.did: list[str] = []

    def refs(self) -> tuple[AttemptRef, ...]:
        return (REF,)

    async def fence(self) -> None:
        self.did.append("fence")

    async def unfence(self) -> None:
        self.did.append("unfence")

    async def destroy(self, ref: AttemptRef, reason: str) -> None:
        self.did.append(f"destroy {ref.attempt_id}")


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


async def test_the_keeper_fences_on_silence_and_destroys_what_is_stale_before_it_resumes() -> None:
    target, clock, sent = Target(), Clock(), list[Renewal]()
    keeper = LeaseKeeper(target, sent.append, lambda: None, clock)
    keeper.connected(renew_every_s=5.0, self_fence_s=30.0)
    await keeper.take(Renewed(sent[-1].nonce, (REF,), ()))
    assert target.did == ["unfence"]
    await keeper.wait_good()
    clock.now = 30.0
    keeper.disconnected()
    running = asyncio.ensure_future(keeper.run())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert target.did == ["unfence", "fence"]
    assert keeper.fenced
    clock.now = 50.0
    keeper.connected(renew_every_s=5.0, self_fence_s=30.0)
    await keeper.take(Renewed(sent[-1].nonce, (), (REF,)))
    assert target.did == ["unfence", "fence", "destroy at_1", "unfence"]
    running.cancel()


async def test_the_keeper_gives_up_a_stream_that_never_answers() -> None:
    target, clock, given_up = Target(), Clock(), list[bool]()
    keeper = LeaseKeeper(target, lambda _: None, lambda: given_up.append(True), clock)
    keeper.connected(renew_every_s=5.0, self_fence_s=30.0)
    running = asyncio.ensure_future(keeper.run())
    clock.now = 15.0
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not given_up
    clock.now = 15.1
    keeper.renew()
    for _ in range(5):
        await asyncio.sleep(0)
    assert given_up
    running.cancel()
