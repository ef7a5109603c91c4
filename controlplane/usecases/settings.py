"""The configuration as it counts, and what of it can be changed while it runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from controlplane.domain.call import Call
from controlplane.domain.setting import ADMIN, Setting
from controlplane.errors import InvalidInput, Violation
from controlplane.ports import Reader, Tx

STORED: Final = "config"  # the setting in the store: by name the value as it was written


@dataclass(frozen=True, slots=True)
class Settings:
    """`given` is what it was started with. `parse` reads the value of a name, ValueError saying what it must be."""

    given: Sequence[Setting]
    parse: Callable[[str, str], Any]


def stored(reader: Reader) -> Mapping[str, str]:
    """What admins changed."""
    found = reader.setting(STORED)
    return found if isinstance(found, dict) else {}


def effective(reader: Reader, settings: Settings) -> list[Setting]:
    changed = stored(reader)
    return [
        replace(each, value=changed[each.name], source=ADMIN) if each.changeable and each.name in changed else each
        for each in settings.given
    ]


def change(tx: Tx, settings: Settings, call: Call, values: Mapping[str, str]) -> list[Setting]:
    """Takes all of the values or none. An empty one goes back to what it was started with."""
    if faults := [fault for name, value in values.items() if (fault := _fault(settings, name, value))]:
        raise InvalidInput("; ".join(f"{each.field}: {each.description}" for each in faults), violations=tuple(faults))
    before = stored(tx)
    after = {name: value for name, value in {**before, **values}.items() if value}
    tx.set_setting(STORED, after)
    moved = {name: value for name, value in values.items() if before.get(name, "") != value}
    who = call.principal
    tx.add_audit(
        "config.change",
        who.name,
        call.request_id,
        {"values": moved},
        call.now,
        tenant_id=who.tenant_id,
        user_id=who.user_id,
    )
    return effective(tx, settings)


def _fault(settings: Settings, name: str, value: str) -> Violation | None:
    field = f"/values/{name[:100]}"
    known = {each.name: each for each in settings.given}.get(name)
    if known is None:
        return Violation(field, "there is no such setting")
    if not known.changeable:
        return Violation(field, "can only be changed at the start")
    try:
        if value:
            settings.parse(name, value)
    except ValueError as fault:
        return Violation(field, str(fault))
    return None
