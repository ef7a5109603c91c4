"""Settings, usage and health of a deployment, as its admins see them."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from controlplane.config import load
from swarm.guest.v1 import guest_pb2
from swarm_sdk import Client, InvalidArgumentError, PermissionDeniedError, ResourceExhaustedError, TicketSpec
from swarm_sdk.types import HealthCheck, HealthStatus, Role, Setting, TenantSpec
from tests.fakes import host as fake
from tests.fakes.control import control_plane
from tests.integration.accounts.people import Town
from tests.integration.people.conftest import UNLIMITED

OK, OFF, WARNING, FAILED = (HealthStatus.Value(f"HEALTH_STATUS_{name}") for name in ("OK", "OFF", "WARNING", "FAILED"))


def used(seq: int, **data: float | str) -> guest_pb2.GuestEvent:
    event = guest_pb2.GuestEvent(seq=seq, type="usage")
    event.data.update(data)
    return event


async def refused(client: Client) -> bool:
    """Whether one of a few calls is too many."""
    calls = [client.auth.me() for _ in range(4)]
    found = await asyncio.gather(*calls, return_exceptions=True)
    return any(isinstance(each, ResourceExhaustedError) for each in found)


async def setting(client: Client, name: str) -> Setting:
    return next(each for each in await client.admin.config() if each.name == name)


async def test_the_configuration_says_where_each_value_is_from(home: Path, tmp_path: Path) -> None:
    file = tmp_path / "swarm.toml"
    file.write_text('retention_days = 7\nsmtp_from = "swarm@example.org"\nhttp_url = "https://swarm.example.org"\n')
    environment = {"SWARM_CONTROLPLANE_RATE_LIMIT": "50", "SWARM_CONTROLPLANE_RETENTION_DAYS": "8"}
    config = load(["--state-dir", str(home), "--rate-limit", "60", "--config", str(file)], environment)
    async with (
        control_plane(home, **{name: getattr(config, name) for name in SAID}) as control,
        control.client() as admin,
    ):
        shown = {each.name: (each.value, each.source) for each in await admin.admin.config()}
    assert shown["rate_limit"] == ("60", "flag")
    assert shown["retention_days"] == ("8", "environment")
    assert shown["smtp_from"] == ("swarm@example.org", "file")
    assert shown["lease_ttl"] == ("45", "default")


SAID = ("rate_limit", "retention_days", "smtp_from", "http_url", "sources")


async def test_a_limit_counts_at_once_and_after_a_restart_until_it_is_taken_back(home: Path) -> None:
    async with control_plane(home, **UNLIMITED) as control, control.client() as admin:
        town = Town(control, admin)
        ann = await town.person("ann")
        changed = await admin.admin.configure({"rate_limit": "2"})
        assert next((e.value, e.source) for e in changed if e.name == "rate_limit") == ("2", "admin")
        assert await refused(ann)
        for client in town.opened:
            await client.close()
    async with control_plane(home, **UNLIMITED) as control, control.client() as admin:
        town = Town(control, admin)
        bob = await town.person("bob")
        assert (await setting(admin, "rate_limit")).source == "admin"
        assert await refused(bob)
        await admin.admin.configure({"rate_limit": ""})
        assert (await setting(admin, "rate_limit")).value == "100000"
        assert not await refused(bob)
        for client in town.opened:
            await client.close()


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"rate_limit": "many"}, "/values/rate_limit"),
        ({"rate_limit": "0"}, "/values/rate_limit"),
        ({"state_dir": "/srv/x"}, "/values/state_dir"),
        ({"no_such": "1"}, "/values/no_such"),
        ({"rate_limit_auth": "7", "no_such": "1"}, "/values/no_such"),
        ({}, "/values"),
    ],
)
async def test_a_change_that_cannot_be_is_refused_as_a_whole(town: Town, values: dict[str, str], field: str) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        await town.admin.admin.configure(values)
    assert caught.value.violations[0].field == field
    assert (await setting(town.admin, "rate_limit_auth")).source == "default"


async def test_the_admin_of_another_tenant_runs_nothing_of_the_deployment(town: Town) -> None:
    await town.admin.admin.create_tenant("acme", TenantSpec(name="Acme"))
    eve = await town.person("eve", Role.ROLE_ADMIN, tenant="acme")
    for call in (eve.admin.config(), eve.admin.configure({"rate_limit": "5"}), eve.admin.health()):
        with pytest.raises(PermissionDeniedError):
            await call
    assert not (await eve.admin.usage()).rows


async def test_usage_counts_attempts_and_what_agents_report(town: Town) -> None:
    made = await town.admin.tickets.create(TicketSpec(title="x", agent="echo", assignee="ann@example.org"))
    async with town.control.host() as host:
        assignment = await host.assignment()
        ref = assignment.attempt
        events = [
            used(1, input_tokens=100, cache_read_input_tokens=20, output_tokens=7, cost_usd=0.25),
            used(2, input_tokens=10, output_tokens="many", cost_usd=-1),
        ]
        told = fake.relayed(ref, guest_pb2.EventBatch(events=events).SerializeToString())
        await host.deliver(fake.started(ref), fake.running(ref))
        await host.deliver(told, fake.finished(ref))
    answer = await town.admin.admin.usage()
    (row,) = answer.rows
    assert (row.tenant_id, row.user, row.tickets, row.attempts) == ("default", "ann@example.org", 1, 1)
    assert (row.input_tokens, row.output_tokens, row.cost_usd) == (130, 7, 0.25)
    assert row.vm_time.ToTimedelta().total_seconds() > 0
    assert (answer.total.attempts, answer.total.input_tokens) == (1, 130)
    assert made.id
    assert not (await town.admin.admin.usage(first_day="2020-01-01", last_day="2020-01-31")).rows


@pytest.mark.parametrize(
    "days", [("today", ""), ("2026-13-01", ""), ("2020-01-01", "2021-01-01"), ("2020-02-02", "2020-02-01")]
)
async def test_days_that_cannot_be_counted_are_refused(town: Town, days: tuple[str, str]) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        await town.admin.admin.usage(first_day=days[0], last_day=days[1])
    assert caught.value.violations


async def test_health_names_every_part_and_what_to_do(town: Town) -> None:
    async def checks() -> dict[str, HealthCheck]:
        return {check.name: check for check in (await town.admin.admin.health()).checks}

    found = await checks()
    assert {name: check.status for name, check in found.items()} == {
        "store": OK,
        "writer": OK,
        "outbox": OK,
        "scheduler": OK,
        "hosts": FAILED,
        "disk": OK,
        "mail": OK,
        "redis": OFF,
    }
    assert "hostd" in found["hosts"].advice
    await town.admin.coordinator.stop()
    async with town.control.host():
        again = await checks()
    assert (again["hosts"].status, again["scheduler"].status) == (OK, WARNING)
    assert "swarm engine start" in again["scheduler"].advice


async def test_what_is_not_configured_is_off_and_not_ill(home: Path) -> None:
    async with control_plane(home, **UNLIMITED) as control, control.client() as admin:
        answer = await admin.admin.health()
        assert next(check.status for check in answer.checks if check.name == "mail") == OFF


async def test_a_mail_server_that_is_away_is_named(home: Path) -> None:
    away = {
        "secrets": {"SWARM_SMTP_URL": "smtp://127.0.0.1:1"},
        "smtp_from": "s@example.org",
        "http_url": "https://swarm.example.org",
    }
    async with control_plane(home, **UNLIMITED, **away) as control, control.client() as admin:
        answer = await admin.admin.health()
        assert next(check.status for check in answer.checks if check.name == "mail") == FAILED
