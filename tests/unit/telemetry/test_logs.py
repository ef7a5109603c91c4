from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

SCRIPT = """
import logging
from telemetry import logs

early = logs.lines("early")
early.info("nobody hears this")
logs.set_up("info", instance="one")
log, calls = logging.getLogger("plain"), logs.lines("fast")
logs.begin(request_id="rq_1", user_id="us_1")
log.debug("not said")
calls.debug("not said")
for say in (lambda **more: log.info("a\\nb", extra=more), lambda **more: calls.info("a\\nb", **more)):
    say(code="OK", token="swm_adm_abc", note="Bearer abc.def", deep={"password": "p", "n": 1}, tokens=3, odd=set)
logs.bind(ticket_id="tk_1", attempt="")
early.warning("later")
logs.begin(request_id="rq_2")
try:
    raise ValueError("token swm_adm_secret")
except ValueError:
    log.exception("broke")
"""


def said() -> list[dict[str, Any]]:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    assert done.stdout == ""
    assert "swm_" not in done.stderr
    return [json.loads(line) for line in done.stderr.splitlines()]


def test_both_ways_to_say_something_make_the_same_line() -> None:
    plain, fast, later, broke = said()
    assert (plain.pop("logger"), fast.pop("logger")) == ("plain", "fast")
    times = [line.pop("time") for line in (plain, fast)]
    assert all(time.endswith("Z") and "T" in time for time in times)
    odd = plain.pop("odd")
    assert odd == fast.pop("odd") == "<class 'set'>"
    assert (
        plain
        == fast
        == {
            "level": "info",
            "instance": "one",
            "message": "a\nb",
            "request_id": "rq_1",
            "user_id": "us_1",
            "code": "OK",
            "token": "[redacted]",
            "note": "Bearer [redacted]",
            "deep": {"password": "[redacted]", "n": 1},
            "tokens": 3,
        }
    )
    assert (later["request_id"], later["ticket_id"], later["logger"]) == ("rq_1", "tk_1", "early")
    assert "attempt" not in later
    assert broke["request_id"] == "rq_2"
    assert not {"user_id", "ticket_id"} & broke.keys()
    assert "ValueError" in broke["trace"]


def test_nothing_ends_because_the_log_takes_no_more() -> None:
    """As on a full disk."""
    script = 'from telemetry import logs\nlogs.set_up("info")\nlogs.lines("x").info("lost")\nprint("went on")'
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=full, check=False)
    assert done.stdout == b"went on\n"
