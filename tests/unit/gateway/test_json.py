"""What JSON is taken and what is refused, value by value."""

from __future__ import annotations

import json
import math
import struct
from typing import Any

import pytest

from controlplane.errors import InvalidInput
from controlplane.gateway.protojson.codec import Unrepresentable
from tests.unit.gateway.compiled import Generated

SCALARS = "everything.v1.Scalars"
KNOWN = "everything.v1.Known"
MAX32 = 3.4028234663852886e38


@pytest.mark.parametrize(
    ("field", "text", "value"),
    [
        *[("an_int32", text, 100000) for text in ("100000", "1e5", "100000.0", '"100000"', '"1e5"', '"1.0e5"')],
        ("an_int32", "-2147483648", -2147483648),
        ("a_uint32", "4294967295", 4294967295),
        ("an_int64", '"-9223372036854775808"', -(1 << 63)),
        ("an_int64", "9223372036854775807", (1 << 63) - 1),
        ("a_uint64", '"18446744073709551615"', (1 << 64) - 1),
        ("a_double", '"1.5"', 1.5),
        ("a_double", "1.7976931348623157e308", 1.7976931348623157e308),
        ("a_double", '"Infinity"', math.inf),
        ("a_double", '"-Infinity"', -math.inf),
        ("a_float", "3.4028235e+38", MAX32),
        ("a_float", "3", 3.0),
        ("a_bool", "true", True),
        ("a_string", r'"\ud83d\ude00"', "😀"),
        *[("some_bytes", text, b"\xfb\xff") for text in ('"+/8="', '"-_8="', '"+/8"', '"-_8"')],
        ("some_bytes", '""', b""),
        ("color", '"COLOR_CRIMSON"', 1),
        ("color", "-1", -1),
        ("color", "77", 77),
        ("a_string", "null", ""),
        ("an_int32", "null", 0),
    ],
)
def test_taken(generated: Generated, field: str, text: str, value: object) -> None:
    assert getattr(generated.codec(SCALARS).decode(f'{{"{field}": {text}}}'.encode()), field) == value


@pytest.mark.parametrize(
    ("field", "texts"),
    [
        (
            "an_int32",
            (
                *("2147483648", "-2147483649", "1.5", '"1.5"', '"0x1"', '" 1"', '"1 "', '"+1"', '"1_0"', '"01"', '""'),
                *(
                    "true",
                    '"true"',
                    "[1]",
                    "{}",
                    "1e10",
                    '"1e400"',
                    '"1e999999999"',
                    '"\u0661"',
                    '"' + "9" * 5000 + '"',
                ),
            ),
        ),
        ("a_uint32", ("-1", "4294967296", '"-1"')),
        ("an_int64", ('"9223372036854775808"', "1e19")),
        ("a_uint64", ('"18446744073709551616"', "-1")),
        ("a_double", ('"nan"', '"inf"', '"1_0"', '" 1"', '"0x1p3"', "1e309", '"1e309"', "true", "[]", "1" * 400)),
        ("a_float", ("3.5e38", "-3.5e38", '"3.5e38"')),
        ("a_bool", ('"true"', "1", "0", '""', "[]")),
        ("a_string", ("1", "true", "[]", "{}", r'"\ud800"', r'"\udc00\ud800"')),
        ("some_bytes", ('"a"', '"*"', '"aa==="', '"a=aa"', "[1]", '"aGk=="', '"=="')),
        ("color", ('"BLUE"', '"color_red"', '"1"', "1.5", "true", "[]", "2147483648")),
    ],
)
def test_refused(generated: Generated, field: str, texts: tuple[str, ...]) -> None:
    for text in texts:
        with pytest.raises(InvalidInput) as refused:
            generated.codec(SCALARS).decode(f'{{"{field}": {text}}}'.encode())
        assert [each.field for each in refused.value.violations] == [f"/{field}"], text


def test_nan(generated: Generated) -> None:
    assert math.isnan(generated.codec(SCALARS).decode(b'{"aDouble": "NaN"}').a_double)


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b" ", b"{", b"{}x", b"{'a': 1}", b"{a: 1}", b'{"a_double": NaN}', b'{"a_double": Infinity}', b"[1,]"),
        *(b'{"a_double": -Infinity}', b'{"a_string": "\xff"}', b'{"a_string": "\x01"}', b'{"a_string": "a\nb"}'),
        b"\xef\xbb\xbf{}",
        *(b'{"a_bool": true, "a_bool": true}', b'{"a_double": 01}', b"[" * 100_000, b'{"tree":' * 100_000),
        *(b"null", b"1", b'"x"', b"[]", b'{"a_bool": true, "aBool": false}', b'{"an_int32": ' + b"9" * 5000 + b"}"),
    ],
)
def test_no_json_or_no_object(generated: Generated, body: bytes) -> None:
    with pytest.raises(InvalidInput):
        generated.codec(SCALARS).decode(body)


@pytest.mark.parametrize(
    ("body", "at"),
    [
        ({"nothing": 1}, "/nothing"),
        ({"scalars": {"nothing": 1}}, "/scalars/nothing"),
        ({"lists": {"messages": [{}, {"x": 1}]}}, "/lists/messages/1/x"),
        ({"maps": {"messages": {"a/b~c": {"x": 1}}}}, "/maps/messages/a~1b~0c/x"),
        ({"maps": {"doubles": {"x": 1}}}, "/maps/doubles/x"),
        ({"maps": {"colors": {"yes": 1}}}, "/maps/colors/yes"),
        ({"maps": {"strings": {"a": None}}}, "/maps/strings/a"),
        ({"lists": {"strings": ["a", None]}}, "/lists/strings/1"),
        ({"lists": {"messages": [None]}}, "/lists/messages/0"),
        ({"lists": {"strings": "a"}}, "/lists/strings"),
        ({"choice": {"text": "a", "number": 1}}, "/choice/number"),
        ({"known": {"time": "2026-02-30T00:00:00Z"}}, "/known/time"),
        ({"known": {"any": {"@type": "x/nothing.Such"}}}, "/known/any/@type"),
        ({"known": {"any": {"a": 1}}}, "/known/any/@type"),
        ({"known": {"any": {"@type": "x/everything.v1.Scalars", "x": 1}}}, "/known/any/x"),
        ({"known": {"any": {"@type": "x/google.protobuf.Duration", "value": "1"}}}, "/known/any/value"),
        ({"known": {"any": {"@type": "x/google.protobuf.Duration"}}}, "/known/any/value"),
        ({"wrapped": {"an_int32": "x"}}, "/wrapped/an_int32"),
    ],
)
def test_faults_are_pointed_at(generated: Generated, body: Any, at: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        generated.codec("everything.v1.Everything").decode(json.dumps(body).encode())
    assert [each.field for each in refused.value.violations] == [at]


@pytest.mark.parametrize(
    ("field", "good", "bad"),
    [
        (
            "time",
            ("0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999999Z", "2026-01-01T00:00:00.5+02:00"),
            (
                *("2026-01-01", "2026-01-01 00:00:00Z", "2026-01-01T00:00:00", "2026-01-01T00:00:60Z", 1),
                *("2026-01-01t00:00:00z", "0000-12-31T00:00:00Z", "9999-12-31T23:59:59-01:00", "2026-01-01T24:00:00Z"),
                *("0001-01-01T00:00:00+01:00", "2026-01-01T00:00:00.1234567890Z", "2026-01-01T00:00:00+24:00"),
            ),
        ),
        ("span", ("0s", "-0.5s", "315576000000s", "1.000000001s"), ("1", "1m", "s", "1.s", ".5s", "315576000001s", 1)),
        ("mask", ("", "a", "a,b.cD", "a_b"), ("a,", ",", "a b", "a..b", 1, ["a"])),
        ("struct", ({}, {"a": None}), ([], "x")),
        ("list", ([], [None, {}]), ({}, "x")),
        ("empty", ({},), ({"a": 1}, [])),
        ("nothing", (None, "NULL_VALUE", 0), ("x", False, 1)),
        (
            "any",
            ({}, {"@type": "x/google.protobuf.Value", "value": None}),
            ([], {"@type": 1}, {"@type": "everything.v1.Scalars"}),
        ),
    ],
)
def test_well_known(generated: Generated, field: str, good: tuple[Any, ...], bad: tuple[Any, ...]) -> None:
    codec = generated.codec(KNOWN)
    for value in good:
        codec.decode(json.dumps({field: value}).encode())
    for value in bad:
        with pytest.raises(InvalidInput):
            codec.decode(json.dumps({field: value}).encode())


def test_null_is_a_value_only_where_it_is_one(generated: Generated) -> None:
    assert generated.codec(KNOWN).decode(b'{"value": null, "time": null}').value.WhichOneof("kind") == "null_value"
    assert not generated.codec(KNOWN).decode(b'{"time": null}').HasField("time")
    assert generated.codec("everything.v1.Choice").decode(b'{"nothing": null}').WhichOneof("kind") == "nothing"
    assert generated.codec("everything.v1.Choice").decode(b'{"text": null, "number": 1}').number == 1


@pytest.mark.parametrize("depth", [90, 120, 900])
def test_depth_is_limited(generated: Generated, depth: int) -> None:
    codec, body = generated.codec("everything.v1.Tree"), b'{"left":' * depth + b"{}" + b"}" * depth
    if depth < 100:
        codec.decode(body)
    else:
        with pytest.raises(InvalidInput):
            codec.decode(body)


@pytest.mark.parametrize(("opened", "closed"), [("[", "]"), ('{"a":', "}")])
def test_free_json_is_no_deeper_than_protobuf_reads(generated: Generated, opened: str, closed: str) -> None:
    codec = generated.codec(KNOWN)
    bodies = [f'{{"value":{opened * depth}1{closed * depth}}}'.encode() for depth in range(60)]
    taken = []
    for body in bodies:
        try:
            taken.append(codec.decode(body))
        except InvalidInput:
            break
    assert 30 < len(taken) < 60
    for message in taken:
        codec.decode(codec.encode(codec.new.FromString(message.SerializeToString())))
    for body in bodies[len(taken) :]:
        with pytest.raises(InvalidInput, match="is nested too deeply"):
            codec.decode(body)


def test_faults_end_at_fifty(generated: Generated) -> None:
    with pytest.raises(InvalidInput) as refused:
        generated.codec(SCALARS).decode(json.dumps({f"x{number}": 1 for number in range(1000)}).encode())
    assert len(refused.value.violations) == 50


def test_long_keys_are_not_sent_back(generated: Generated) -> None:
    with pytest.raises(InvalidInput) as refused:
        generated.codec(SCALARS).decode(json.dumps({"x" * 100_000: 1}).encode())
    assert len(str(refused.value.violations)) < 2000


def test_numbers_of_free_json_have_a_range(generated: Generated) -> None:
    with pytest.raises(InvalidInput) as refused:
        generated.codec(KNOWN).decode(b'{"value": ' + b"9" * 400 + b"}")
    assert refused.value.violations[0].description == "is out of range"


def test_required_fields_and_closed_enums(generated: Generated) -> None:
    for body in (b"{}", b'{"name": "x", "size": 7}', b'{"name": "x", "line": [{}]}'):
        with pytest.raises(InvalidInput):
            generated.codec("legacy.v1.Legacy").decode(body)
    with pytest.raises(InvalidInput):
        generated.codec("edition.v1.Edition").decode(b'{"required": "x", "allClosed": [0]}')


def test_fields_without_presence_are_always_written(generated: Generated) -> None:
    assert json.loads(generated.codec("everything.v1.Optionals").encode(generated.new("everything.v1.Optionals"))) == {}
    written = json.loads(generated.codec("edition.v1.Edition").encode(generated.new("edition.v1.Edition")))
    assert written == {"implicit": 0, "expanded": [], "all_closed": []}


@pytest.mark.parametrize("value", [0.1, 1 / 3, 1e-45, MAX32, -0.0, 16777216.0, 1.17549435e-38, 123456.789])
def test_floats_are_short_and_exact(generated: Generated, value: float) -> None:
    message = generated.new(SCALARS, a_float=value)
    text = generated.codec(SCALARS).encode(message)
    assert struct.pack("f", generated.codec(SCALARS).decode(text).a_float) == struct.pack("f", value)
    assert len(repr(json.loads(text)["a_float"])) <= 15


def test_what_json_cannot_say_is_a_typed_error(generated: Generated) -> None:
    bad = [generated.new(KNOWN) for _ in range(5)]
    bad[0].value.number_value = math.nan
    bad[1].time.seconds = 1 << 60
    bad[2].mask.paths.append("aB")
    bad[3].any.type_url = "x/unknown.Type"
    bad[4].span.seconds, bad[4].span.nanos = 1, -1
    for message in bad:
        with pytest.raises(Unrepresentable):
            generated.codec(KNOWN).encode(message)


@pytest.mark.parametrize(
    ("field", "text"),
    [("most", b'"Infinity"'), ("least", b'"-Infinity"'), ("unknown", b'"NaN"'), ("order", b'"ORDER_FIRST"')],
)
def test_an_unset_field_has_the_default_that_its_proto_says(generated: Generated, field: str, text: bytes) -> None:
    message = generated.new("legacy.v1.Legacy")
    assert generated.codecs.part("legacy.v1.Legacy", field).encode(message) == text
