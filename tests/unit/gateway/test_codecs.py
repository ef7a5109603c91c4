from __future__ import annotations

import json

import pytest
from google.protobuf import json_format
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.gateway.compiled import Generated
from tests.unit.gateway.messages import messages, same

KINDS = [
    *(f"everything.v1.{name}" for name in ("Scalars", "Optionals", "Lists", "Maps", "Choice", "Known", "Wrapped")),
    *("everything.v1.Names", "everything.v1.Tree"),
    *("legacy.v1.Legacy", "edition.v1.Edition", "newest.v1.Newest"),
]
MANY = settings(
    max_examples=15, deadline=None, suppress_health_check=list(HealthCheck), database=None, derandomize=True
)


@pytest.mark.parametrize("kind", KINDS)
@MANY
@given(data=st.data())
def test_output_is_that_of_the_reference(generated: Generated, kind: str, data: st.DataObject) -> None:
    codec = generated.codec(kind)
    message = data.draw(messages(codec.new.DESCRIPTOR))
    reference = json_format.MessageToJson(
        message,
        preserving_proto_field_name=True,
        always_print_fields_with_no_presence=True,
        descriptor_pool=generated.pool,
    )
    assert json.loads(codec.encode(message)) == json.loads(reference)


@pytest.mark.parametrize("kind", KINDS)
@MANY
@given(data=st.data())
def test_what_is_written_is_read_again(generated: Generated, kind: str, data: st.DataObject) -> None:
    codec = generated.codec(kind)
    message = data.draw(messages(codec.new.DESCRIPTOR))
    assert same(codec.decode(codec.encode(message)), message)
    read = json_format.Parse(codec.encode(message), codec.new(), descriptor_pool=generated.pool)
    assert same(read, message)


@pytest.mark.parametrize("kind", KINDS)
@MANY
@given(data=st.data())
def test_what_the_reference_writes_is_read(generated: Generated, kind: str, data: st.DataObject) -> None:
    codec = generated.codec(kind)
    message = data.draw(messages(codec.new.DESCRIPTOR))
    camel = json_format.MessageToJson(message, descriptor_pool=generated.pool, ensure_ascii=False)
    assert same(codec.decode(camel.encode()), message)
