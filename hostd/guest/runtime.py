"""Waits for the doorbell, then does the one piece of work that this VM is for."""

from __future__ import annotations

import contextlib
import gc
import http.client
import json
import os
import signal
import socket
import subprocess
import time
from dataclasses import replace
from typing import Any

from . import identity, pulse, scratch
from .attempt import Attempt
from .outbox import Outbox
from .settings import Settings
from .transport import Refused, Transport

_TRIES = 5
_RETRY_S = 0.2
_FLUSH_S = 60
_OK = 200
_NO_CONTENT = 204


def run(settings: Settings, *, crashed: str = "") -> None:
    """Returns only for a plain process, when its work is done. `crashed` says how an earlier runtime ended."""
    bell = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    bell.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bell.bind(settings.bell)
    transport = Transport(settings.broker)
    if crashed:
        _report_crash(transport, crashed)
    else:
        _warm_up()
    work = _wait(bell, transport)
    pulse.answer_pings(bell, transport)
    _work(settings, transport, work)
    while not settings.plain:
        signal.pause()


def _wait(bell: socket.socket, transport: Transport) -> dict[str, Any]:
    """The work. No timer runs and no connection is open while the bell is silent: a snapshot may be taken."""
    while True:
        print("SWARM READY", flush=True)
        while bell.recv(64) == pulse.PING:
            pass  # a guest without work has nothing to answer for
        work = _fetch(transport)
        if work:
            return work


def _fetch(transport: Transport) -> dict[str, Any]:
    """The work; empty when there is none for this VM."""
    for _ in range(_TRIES):
        with contextlib.suppress(OSError, http.client.HTTPException, ValueError):
            status, body = transport.once("GET", "/v1/work", timeout_s=10)
            if status == _NO_CONTENT:
                return {}
            value = json.loads(body)
            if status == _OK and isinstance(value, dict):
                return value
        time.sleep(_RETRY_S)
    return {}


def _work(settings: Settings, transport: Transport, work: dict[str, Any]) -> None:
    settings = replace(settings, traceparent=str(work.get("traceparent", "")))
    if not settings.plain:
        identity.apply(work)
    print(f"SWARM WORK {work.get('ticket_key', '')}", flush=True)
    outbox = Outbox(transport)
    try:
        scratch.prepare(settings)
        outcome = Attempt(settings, transport, outbox, work).run()
    except OSError as error:
        outcome = {"status": "failed", "exit_code": 1, "summary": str(error), "phase": "prepare"}
    outbox.flush(_FLUSH_S)
    try:
        transport.post("/v1/result", outcome, patience_s=600)
    except (OSError, Refused) as error:
        print(f"SWARM RESULT {error}", flush=True)
        return
    print(f"SWARM DONE {outcome['status']}", flush=True)


def _report_crash(transport: Transport, crashed: str) -> None:
    outcome = {"status": "failed", "exit_code": 1, "summary": crashed, "phase": "agent"}
    with contextlib.suppress(OSError, Refused):
        transport.post("/v1/result", outcome, patience_s=10)


def _warm_up() -> None:
    """Bring into memory what every ticket needs, so that it is part of the snapshot."""
    with contextlib.suppress(OSError):
        subprocess.run(["git", "version"], stdout=subprocess.DEVNULL, check=False)
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write("-500" if os.getppid() == 1 else "0")
    gc.collect()
    gc.freeze()
