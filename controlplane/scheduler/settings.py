"""The coordinator's stored setting: {"running": bool, "max_vms": int}; absent, it runs without a limit of its own."""

from __future__ import annotations

from typing import Final

from controlplane.ports import Reader
from controlplane.scheduler.plan import Limits

SETTING: Final = "coordinator"


def read_limits(reader: Reader) -> Limits | None:
    """None while the coordinator is stopped."""
    stored = reader.setting(SETTING)
    setting = stored if isinstance(stored, dict) else {}
    return Limits(int(setting.get("max_vms", 0))) if setting.get("running", True) else None
