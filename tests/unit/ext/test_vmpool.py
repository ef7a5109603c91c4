from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ext.vmpool import VmPool
from tests.fakes import ext_oracle as oracle

steps = st.lists(st.sampled_from(["put", "put", "acquire", "take", "take gone", "close"]), max_size=60)


@given(capacity=st.integers(1, 5), names=steps)
def test_pool_does_as_the_twin_does(capacity: int, names: list[str]) -> None:
    ours, twin = VmPool(capacity), oracle.VmPool(capacity)
    for token, name in enumerate(names):
        if name == "put":
            assert ours.put(token, token + 100) == twin.put(token, token + 100)
        elif name == "acquire":
            got = ours.acquire()
            assert (got is None) == (len(twin) == 0)
            assert got is None or (got[1] == got[0] + 100 and twin.take(got[0]))
        elif name == "take" and twin.vms:
            chosen = max(twin.vms)
            assert ours.take(chosen)
            assert twin.take(chosen)
        elif name == "take gone":
            assert not ours.take(token)
        elif name == "close":
            ours.close()
            twin.close()
        assert len(ours) == len(twin)
        assert ours.closed == twin.closed


def test_a_closed_pool_can_be_emptied() -> None:
    pool = VmPool(2)
    assert pool.put(7, 3)
    pool.close()

    assert not pool.put(8, 4)
    assert pool.acquire() == (7, 3)
    assert pool.acquire() is None


def test_arguments_are_checked() -> None:
    for capacity in (0, -1):
        with pytest.raises(ValueError, match="capacity"):
            VmPool(capacity)
    with pytest.raises(ValueError, match="negative"):
        VmPool(1).put(-1, 3)
    with pytest.raises(ValueError, match="negative"):
        VmPool(1).put(1, -1)
    with pytest.raises(ValueError, match="token"):
        VmPool(1).take(-2)
