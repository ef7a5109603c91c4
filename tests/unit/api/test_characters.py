from __future__ import annotations

import pytest
from google.protobuf.message import Message
from google.protobuf.struct_pb2 import Struct, Value

from controlplane.api.stages.characters import refuse_nul
from controlplane.errors import InvalidInput
from swarm.admin.v1 import service_pb2 as admin
from swarm.ticket.v1 import service_pb2 as ticket
from swarm.ticket.v1.ticket_pb2 import TicketSpec

BAD = "a\0b"
INPUT = Struct(fields={"a": Value(string_value=BAD)})


@pytest.mark.parametrize(
    ("message", "field"),
    [
        (ticket.GetTicketRequest(id=BAD), "/id"),
        (ticket.CreateTicketRequest(spec=TicketSpec(title=BAD)), "/spec/title"),
        (ticket.CreateTicketRequest(spec=TicketSpec(tags=["a", BAD])), "/spec/tags/1"),
        (ticket.CreateTicketsRequest(specs=[TicketSpec(), TicketSpec(title=BAD)]), "/specs/1/title"),
        (admin.UpdateConfigRequest(values={"rate_limit": BAD}), "/values/rate_limit"),
        (admin.UpdateConfigRequest(values={BAD: "1"}), "/values"),
        (ticket.CreateTicketRequest(spec=TicketSpec(input=INPUT)), "/spec/input/fields/a/string_value"),
    ],
)
def test_a_string_with_nul_is_named(message: Message, field: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        refuse_nul(message)
    assert [each.field for each in refused.value.violations] == [field]


def test_a_card_has_rules_of_its_own_and_numbers_may_have_zero_bytes() -> None:
    request = ticket.ImportSpecRequest()
    request.card.update({"name": BAD})
    refuse_nul(request)
    refuse_nul(TicketSpec(title="fine", priority=1 << 8))
