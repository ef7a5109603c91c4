"""How long each credential is good for, in seconds."""

from __future__ import annotations

from typing import Final

MINUTE: Final = 60.0
HOUR: Final = 3600.0
DAY: Final = 24 * HOUR

ACCESS: Final = 10 * MINUTE
IDLE_LOGIN: Final = 30 * DAY  # a login that is not refreshed for so long has ended
LOGIN: Final = 180 * DAY  # however often it is refreshed
CHALLENGE: Final = 5 * MINUTE  # between password and second factor
OAUTH_STATE: Final = 10 * MINUTE
RESET: Final = 30 * MINUTE
SETUP: Final = DAY
WS_TICKET: Final = 30.0
SIGNING_KEY: Final = 30 * DAY
LONGEST_API_KEY: Final = 3650 * DAY
USED_REFRESH: Final = 30 * DAY  # so long is a refresh token that was used known as such
