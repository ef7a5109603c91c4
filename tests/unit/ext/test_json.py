"""The native codecs, given anything."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from google.protobuf import struct_pb2, timestamp_pb2

from controlplane.errors import InvalidInput
from controlplane.gateway.protojson.faults import Faults
from controlplane.gateway.protojson.table import Row, Tables
from ext.jsonreader import read, unique
from ext.jsontable import Field, Refused, Table
from ext.jsonwriter import write

P = "google.protobuf."
STRUCT = {
    f"{P}Struct": [Row(1, "fields", "message", of=f"{P}Value", key="string")],
    f"{P}ListValue": [Row(1, "values", "message", of=f"{P}Value", repeated=True)],
    f"{P}Value": [
        Row(1, "null_value", "enum", of=f"{P}NullValue", presence=True),
        Row(2, "number_value", "double", presence=True),
        Row(3, "string_value", "string", presence=True),
        Row(4, "bool_value", "bool", presence=True),
        Row(5, "struct_value", "message", of=f"{P}Struct", presence=True),
        Row(6, "list_value", "message", of=f"{P}ListValue", presence=True),
    ],
    f"{P}Timestamp": [Row(1, "seconds", "int64"), Row(2, "nanos", "int32")],
    "All": [
        *(Row(at, f"f{at}", kind) for at, kind in enumerate(("double", "sint32", "fixed64", "bool", "bytes"), 1)),
        Row(6, "many", "sfixed32", repeated=True),
        Row(7, "texts", "string", repeated=True),
        Row(8, "by_key", "message", of="All", key="int64"),
        Row(9, "group", "group", of="All", presence=True),
        Row(10, "free", "message", of=f"{P}Value", presence=True),
        Row(11, "at", "message", of=f"{P}Timestamp", presence=True),
    ],
}
TABLES = Tables(STRUCT, {}, {}).made
SOME: dict[str, Any] = {
    "f1": 1.5,
    "f2": -7,
    "f3": "18446744073709551615",
    "f5": "AAEC",
    "many": [1, -1],
    "texts": ["a", "ü\n"],
    "by_key": {"-1": {"f4": True}},
    "group": {"group": {"f2": 1}},
    "free": {"a": [None, 1.0, {"b": "x"}]},
    "at": "2026-01-31T12:00:00.5Z",
}


def wire_of(value: Any, kind: str = "All") -> bytes:
    faults = Faults()
    wire = read(TABLES[kind], value, "", faults)
    faults.end()
    return wire


def json_of(wire: bytes, kind: str = "All") -> Any:
    return json.loads(write(TABLES[kind], wire))


def mutations(wire: bytes, count: int) -> Iterator[bytes]:
    rng = random.Random(1)
    for _ in range(count):
        changed = bytearray(wire)
        for _ in range(rng.randint(1, 4)):
            at = rng.randrange(len(changed))
            match rng.randrange(4):
                case 0:
                    changed[at] = rng.randrange(256)
                case 1:
                    del changed[at : at + rng.randint(1, 9)]
                case 2:
                    changed[at:at] = changed[rng.randrange(len(changed)) :][:20] or b"\xff"
                case _:
                    changed[at:at] = b"\xff" * rng.randint(1, 10)
            changed = changed or bytearray(b"\x00")
        yield bytes(changed)


def test_both_ways() -> None:
    again = json_of(wire_of(SOME))
    assert {key: again[key] for key in SOME if key not in {"by_key", "group", "at"}} == {
        key: SOME[key] for key in SOME if key not in {"by_key", "group", "at"}
    }
    assert again["by_key"]["-1"]["f4"] is True
    assert again["group"]["group"]["f2"] == 1
    assert again["at"] == "2026-01-31T12:00:00.500Z"


def test_broken_bytes_are_refused_or_make_json() -> None:
    refused = 0
    for wire in mutations(wire_of(SOME), 20_000):
        try:
            json_of(wire)
        except Refused:
            refused += 1
    assert 1000 < refused < 20_000


def test_every_cut_is_refused_or_makes_json() -> None:
    wire, refused = wire_of(SOME), 0
    for end in range(len(wire)):
        try:
            json_of(wire[:end])
        except Refused:
            refused += 1
    assert len(wire) > refused > len(wire) // 2


@pytest.mark.parametrize(
    "wire",
    [
        *(b"\x4b" * 100_000, b"\xfb\x7f" * 100_000, b"\x4b", b"\x4c", b"\x4b\x54"),  # groups: open, unknown, unequal
        *(b"\x3a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", b"\x3a\xff\xff\xff\xff\x07", b"\x3a\x02a"),  # lengths
        *(b"\x10" + b"\xff" * 11, b"\x00\x00", b"\x0f", b"\x09abc", b"\x32\x03abc"),  # numbers, tags, blocks
        b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x00",
        b"\x3a\x01\xff",  # no UTF-8
        b"\x5a\x06\x08\xff\xff\xff\xff\x7f" * 2 + b"\x5a\x0b\x08\xff\xff\xff\xff\xff\xff\xff\xff\x7f",  # far times
    ],
)
def test_bytes_that_are_no_message(wire: bytes) -> None:
    with pytest.raises(Refused):
        write(TABLES["All"], wire)


def test_deep_messages_end() -> None:
    wire = b""
    for _ in range(300):
        wire = b"\x4b" + wire + b"\x4c"
    with pytest.raises(Refused):
        write(TABLES["All"], wire)
    nested: Any = {}
    for _ in range(5000):
        nested = {"group": nested}
    faults = Faults()
    read(TABLES["All"], nested, "", faults)
    assert [each.description for each in faults.found] == ["is nested too deeply"]


def test_any_json_makes_bytes_that_protobuf_reads_or_faults() -> None:
    rng = random.Random(2)

    scalars = [
        None,
        True,
        False,
        0,
        -1,
        1 << 31,
        1 << 63,
        1 << 64,
        -(1 << 70),
        10**400,
        0.5,
        -0.0,
        1e308,
        math.inf,
        math.nan,
    ]
    texts = ["", "x", "AAA=", "1", "1e3", "-1", "Infinity", "\ud800", "2026-01-31T12:00:00Z", "2026-13-31T12:00:00Z"]
    keys = [*SOME, *SOME, "f4", "1", "1e0", "x", "\udfff", "a/b~c"]

    def value(depth: int) -> Any:
        kind = rng.randrange(6 if depth else 4)
        if kind < 4:
            return rng.choice(scalars if kind < 2 else texts)
        count = rng.randrange(5)
        if kind == 4:
            return [value(depth - 1) for _ in range(count)]
        return {rng.choice(keys): value(depth - 1) for _ in range(count)}

    taken = 0
    for _ in range(20_000):
        faults = Faults()
        try:
            wire = read(TABLES["All"], {rng.choice(keys): value(4) for _ in range(2)}, "", faults)
        except InvalidInput:
            continue
        json_of(wire)  # what was not at fault is a message all the same
        taken += not faults.found
    assert taken > 50


def test_free_json_is_what_protobuf_makes_of_it() -> None:
    value: dict[str, Any] = {"a": [None, True, 0.5, "ü😀\x7f", {}, []], "": {"b": -1e300}}
    message = struct_pb2.Struct()
    message.update(value)
    assert struct_pb2.Struct.FromString(wire_of(value, f"{P}Struct")) == message
    assert json_of(message.SerializeToString(), f"{P}Struct") == value


def test_times_are_those_of_the_calendar() -> None:
    rng = random.Random(3)
    first, last = -62_135_596_800, 253_402_300_799
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    edges = [datetime(year, month, day, tzinfo=UTC) for year in range(1, 9999, 7) for month, day in ((2, 28), (3, 1))]
    moments = [first, last, -1, 0, *((edge - epoch) // timedelta(seconds=1) for edge in edges)]
    for seconds in [*moments, *(rng.randint(first, last) for _ in range(5000))]:
        wire = timestamp_pb2.Timestamp(seconds=seconds, nanos=seconds % 1000 * 1000).SerializeToString()
        said = write(TABLES[f"{P}Timestamp"], wire).decode().strip('"')
        fraction = f".{seconds % 1000:06}" if seconds % 1000 else ""
        assert timestamp_pb2.Timestamp.FromString(wire_of(said, f"{P}Timestamp")).ToNanoseconds() == (
            seconds * 10**9 + seconds % 1000 * 1000
        )
        assert said == (epoch + timedelta(seconds=seconds)).isoformat()[:19] + fraction.removesuffix("000") + "Z"
    for seconds, nanos in ((first - 1, 0), (last + 1, 0), (0, -1), (0, 1_000_000_000)):
        with pytest.raises(Refused):
            write(TABLES[f"{P}Timestamp"], timestamp_pb2.Timestamp(seconds=seconds, nanos=nanos).SerializeToString())


def test_a_table_is_whole() -> None:
    for kwargs in ({"kind": 11}, {"kind": 0}, {"kind": 9, "table": Table("x")}, {"kind": 11, "is_map": True}):
        with pytest.raises(ValueError, match="field"):
            Field("x", 1, **kwargs)
    for form in (1, 2, 3, 4):
        with pytest.raises(ValueError, match="filled"):
            Table("x", form).fill((), {})
    with pytest.raises(ValueError, match="form"):
        Table("x", 6)
    for form in (1, 2):
        with pytest.raises(IndexError):  # which was never filled
            write(Table("x", form), b"") if form == 1 else read(Table("x", form), None, "", Faults())


def test_keys_are_there_once() -> None:
    assert unique([("a", 1), ("b", 2)]) == {"a": 1, "b": 2}
    with pytest.raises(Refused, match="'b' twice"):
        unique([("a", 1), ("b", 2), ("b", 2), ("a", 1)])


def test_the_rows_of_this_test_are_those_of_protobuf() -> None:
    for kind in (struct_pb2.Value, struct_pb2.Struct, struct_pb2.ListValue, timestamp_pb2.Timestamp):
        rows = STRUCT[kind.DESCRIPTOR.full_name]
        assert [(row.number, row.name) for row in rows] == [(f.number, f.name) for f in kind.DESCRIPTOR.fields]
