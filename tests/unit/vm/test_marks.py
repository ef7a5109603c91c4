from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hostd.pool.marks import Marks, Order, Stock, orders, resolve, rising

MARKS = Marks(ready_low=2, ready_high=4, spawned_low=1, spawned_high=2)
counts = st.integers(min_value=0, max_value=6)
stocks = st.dictionaries(
    st.text("ab", min_size=1, max_size=2),
    st.builds(Stock, counts, counts, counts, counts, st.booleans(), st.booleans()),
    max_size=4,
)


def test_nothing_is_built_between_the_marks_on_the_way_down() -> None:
    stock = Stock(ready=3, spawned=1, ready_filling=False, spawned_filling=False)
    assert orders({"a": stock}, MARKS, room=10) == {}


def test_below_the_low_mark_it_fills_to_the_high_one() -> None:
    stock = Stock(ready=1, spawned=0, ready_filling=False, spawned_filling=False)
    assert orders({"a": stock}, MARKS, room=10) == {"a": Order(ready=3, spawned=2)}


def test_what_is_being_built_counts() -> None:
    stock = Stock(ready=1, spawned=1, ready_building=3, spawned_building=1)
    assert orders({"a": stock}, MARKS, room=10) == {}


def test_scarce_room_goes_to_ready_vms_of_all_templates_in_turn() -> None:
    empty = Stock()
    assert orders({"a": empty, "b": empty}, MARKS, room=3) == {"a": Order(ready=2), "b": Order(ready=1)}


@given(stocks, st.integers(min_value=-3, max_value=20))
def test_orders_never_exceed_the_room_or_the_high_mark(stock: dict[str, Stock], room: int) -> None:
    found = orders(stock, MARKS, room)
    assert sum(order.ready + order.spawned for order in found.values()) <= max(room, 0)
    for key, order in found.items():
        have = stock[key]
        assert not order.ready or have.ready + have.ready_building + order.ready <= MARKS.ready_high
        assert not order.spawned or have.spawned + have.spawned_building + order.spawned <= MARKS.spawned_high


@given(stocks)
def test_enough_room_reaches_every_high_mark_that_is_wanted(stock: dict[str, Stock]) -> None:
    found = orders(stock, MARKS, room=1000)
    for key, have in stock.items():
        total = have.ready + have.ready_building
        if rising(total, MARKS.ready_low, MARKS.ready_high, filling=have.ready_filling):
            assert total + found.get(key, Order()).ready == MARKS.ready_high


def test_sizes_are_rounded_up_so_that_similar_wishes_share_a_template() -> None:
    assert resolve(0, 512, 128) == 512
    assert resolve(1, 512, 128) == 128
    assert resolve(129, 512, 128) == 256
