"""What goes out comes back the same, for every noun that travels both ways."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.json_format import MessageToJson
from google.protobuf.struct_pb2 import Struct
from hypothesis import given
from hypothesis import strategies as st

from controlplane.api.convert import common, host, project, pullrequest, ticket, vm
from controlplane.api.convert.mask import masked_fields
from controlplane.domain.host import Capacity, Host, HostState
from controlplane.domain.image import Image, Template
from controlplane.domain.project import CompleteOn, ProjectSpec
from controlplane.domain.pullrequest import PullRequestState
from controlplane.domain.ticket import (
    Attempt,
    AttemptState,
    BootTier,
    BootTiming,
    Isolation,
    Resources,
    Ticket,
    TicketSpec,
    TicketState,
    TicketType,
)
from controlplane.domain.vm import Vm, VmSample, VmState
from controlplane.errors import InvalidInput
from swarm.project.v1 import project_pb2
from swarm.ticket.v1 import ticket_pb2
from swarm.vm.v1 import vm_pb2

SPEC = TicketSpec(
    title="t",
    type=TicketType.BUG,
    description="d",
    acceptance_criteria=("a", "b"),
    priority=0,
    tags=("x",),
    assignee="me",
    project_id="pj_1",
    parent_id="tk_0",
    depends_on=("tk_1",),
    agent="shell@1",
    input={"n": 1, "f": 1.5, "s": "x", "b": True, "none": None, "list": [1, {"deep": "yes"}], "object": {}},
    resources=Resources(2, 512, 1024, "default", Isolation.TCG, {"gpu": "no"}),
    timeout_s=60,
    ref="r",
)
json_values: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(1 << 53), 1 << 53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


def test_ticket_specs_come_back_the_same() -> None:
    assert ticket.spec_in(ticket.spec_out(SPEC)) == SPEC


def test_an_empty_spec_has_the_defaults() -> None:
    assert ticket.spec_in(ticket_pb2.TicketSpec(title="x")) == TicketSpec(title="x")


@given(st.dictionaries(st.text(), json_values, max_size=5))
def test_json_comes_back_the_same(data: dict[str, Any]) -> None:
    assert common.json_in(common.json_out(data), "") == data


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_numbers_that_are_no_json_are_refused_by_pointer(number: float) -> None:
    body = Struct()
    body["a/b"] = [1, {"c": number}]
    with pytest.raises(InvalidInput) as refused:
        common.json_in(body, "/input")
    assert refused.value.violations[0].field == "/input/a~1b/1/c"


@pytest.mark.parametrize("seconds", [-1, 366 * 86400])
def test_durations_out_of_range_are_refused(seconds: int) -> None:
    with pytest.raises(InvalidInput):
        ticket.spec_in(ticket_pb2.TicketSpec(title="x", timeout=Duration(seconds=seconds)))


def test_parts_of_seconds_are_rounded_up() -> None:
    assert common.whole_seconds(Duration(nanos=1), "/x") == 1


@given(st.floats(0, 4e9))
def test_times_keep_their_microseconds(moment: float) -> None:
    found = common.timestamp(moment)
    assert found is not None
    assert common.seconds(found) == pytest.approx(moment, abs=1e-6)


@pytest.mark.parametrize("state", TicketState)
def test_every_state_of_a_ticket_is_known_outside(state: TicketState) -> None:
    shown = ticket.ticket_out(Ticket("tk_1", "TKT-001", "default", SPEC, state, 1.0, 2.0), {})
    assert ticket.state_in(shown.state) is state
    assert not shown.HasField("current_attempt")


@pytest.mark.parametrize("state", AttemptState)
def test_every_state_of_an_attempt_is_known_outside(state: AttemptState) -> None:
    shown = ticket.attempt_out(Attempt("at_1", "tk_1", 1, 1, "hs_1", state, 1.0))
    assert ticket_pb2.AttemptState.Name(shown.state) == f"ATTEMPT_STATE_{state.name}"


@pytest.mark.parametrize("tier", [tier for tier in BootTier if tier])
def test_boot_timings_come_back_the_same(tier: BootTier) -> None:
    boot = BootTiming(tier, 1, 2, 3)
    shown = ticket.boot_out(boot)
    assert shown is not None
    assert ticket.boot_in(shown) == boot


def test_no_tier_and_one_that_is_not_known_yet_are_none() -> None:
    assert ticket.boot_out(BootTiming()) is None
    assert ticket.boot_in(vm_pb2.Vm().boot).tier is BootTier.NONE
    assert ticket.boot_in(ticket_pb2.BootTiming.FromString(b"\x08\x63")).tier is BootTier.NONE
    assert ticket.isolation_in(99) is Isolation.UNSPECIFIED


@pytest.mark.parametrize("state", VmState)
def test_vms_come_back_the_same_but_belong_to_who_reports_them(state: VmState) -> None:
    sample = VmSample(5.5, 1.5, 1, 2, 3, 4)
    boot = BootTiming(BootTier.T1S, 1, 2, 3)
    one = Vm("vm_1", "hs_1", state, "qemu", Isolation.TCG, "i", "t", 1, 2, 3, 4.0, "tk", "at", boot, 6.0, sample)
    assert vm.vm_in(vm.vm_out(one), "hs_2") == replace(one, host_id="hs_2")


@pytest.mark.parametrize("moment", [-(1 << 62), 1 << 62])
def test_what_a_host_makes_up_of_its_vms_can_be_shown(moment: int) -> None:
    made_up = vm_pb2.Vm(id="vm_1", image="i" * 9999, ticket_id="t" * 9999)
    made_up.created_at.seconds = made_up.stopped_at.seconds = made_up.last_sample.time.seconds = moment
    made_up.last_sample.cpu_seconds = math.nan
    shown = vm.vm_out(vm.vm_in(made_up, "hs_1"))
    assert "NaN" not in MessageToJson(shown)
    assert len(shown.image) == len(shown.ticket_id) == vm.LONGEST


def test_images_templates_and_capacities_come_back_the_same() -> None:
    image = Image("default", "d" * 64, "hs_1", 1, 2, 3, 4, 5.0)
    template = Template("d" * 64, "default", "e" * 64, "hs_1", "qemu", "9", 1, 2, 3, 4.0)
    capacity = Capacity(1, 2, 3, 4)
    assert host.image_in(host.image_out(image), "hs_1") == image
    assert host.template_in(host.template_out(template), "hs_1") == template
    assert host.capacity_in(host.capacity_out(capacity)) == capacity


@pytest.mark.parametrize("state", HostState)
def test_every_state_of_a_host_is_known_outside(state: HostState) -> None:
    known = Host("hs_1", "local", state, Isolation.SIM, Capacity(), labels={"a": "b"})
    shown = host.host_out(known, connected=True, silent=True)
    assert (shown.id, shown.name, dict(shown.labels)) == ("hs_1", "local", {"a": "b"})
    assert (shown.connected, shown.silent) == (True, True)


@pytest.mark.parametrize("when", CompleteOn)
def test_project_specs_come_back_the_same(when: CompleteOn) -> None:
    spec = ProjectSpec("p", "/srv/r.git", "main", "echo", "make test", 3, when)
    assert project.spec_in(project.spec_out(spec)) == spec
    assert project.spec_in(project_pb2.ProjectSpec(name="p")).complete_on is CompleteOn.MERGED


def test_pull_request_states_are_optional() -> None:
    assert pullrequest.state_in(0) is None  # type: ignore[arg-type]
    assert pullrequest.state_in(2) is PullRequestState.MERGED  # type: ignore[arg-type]


def test_an_empty_mask_means_what_is_set() -> None:
    spec = ticket_pb2.TicketSpec(title="x", priority=0)
    assert masked_fields(FieldMask(), spec) == ("title", "priority")
    assert masked_fields(FieldMask(paths=["tags", "tags"]), spec) == ("tags",)


@pytest.mark.parametrize(
    ("paths", "field"), [(["nope"], "/update_mask"), (["resources.vcpus"], "/update_mask"), ([], "/spec")]
)
def test_masks_that_name_nothing_are_refused(paths: list[str], field: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        masked_fields(FieldMask(paths=paths), ticket_pb2.TicketSpec())
    assert refused.value.violations[0].field == field
