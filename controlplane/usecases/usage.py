"""What was used, by day, for who runs a tenant or the deployment."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Final

from controlplane.domain.call import HOME, Call
from controlplane.domain.usage import UsageRow
from controlplane.domain.user import refused
from controlplane.errors import InvalidInput
from controlplane.ports import Reader
from controlplane.usecases.accounts.tenants import administered

DAY_S: Final = 86_400
MOST_DAYS: Final = 92
USUAL_DAYS: Final = 30
MOST_ROWS: Final = 10_000


def usage(reader: Reader, call: Call, tenant_id: str, first: str, last: str) -> list[UsageRow]:
    """Rows of these days, such as "2026-01-31", in their order. InvalidInput for more than can be answered."""
    tenant = "" if not tenant_id and call.principal.tenant_id == HOME else tenant_id
    chosen = administered(reader, call, tenant).id if tenant or call.principal.tenant_id != HOME else ""
    end = _day(last, "/last_day") if last else datetime.fromtimestamp(call.now, UTC).date()
    begin = _day(first, "/first_day") if first else end - timedelta(days=USUAL_DAYS - 1)
    if not 0 <= (end - begin).days < MOST_DAYS:
        raise refused("/last_day", f"must be after the first one, and the {MOST_DAYS}nd of them at most")
    rows = reader.usage(chosen, _seconds(begin), _seconds(end) + DAY_S, MOST_ROWS + 1)
    if len(rows) > MOST_ROWS:
        raise InvalidInput(f"that is more than {MOST_ROWS} rows: ask for fewer days", reason="too_many_rows")
    return rows


def _day(text: str, field: str) -> date:
    try:
        found = date.fromisoformat(text)
    except ValueError:
        raise refused(field, "must be a day such as 2026-01-31") from None
    if not 1970 <= found.year < 9000:  # noqa: PLR2004  # what ids and clocks can say
        raise refused(field, "must be a day of an attempt")
    return found


def _seconds(day: date) -> float:
    return datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()
