"""Starts the control plane: configuration, logs, event loop; every fault is one line and an exit code."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence

import uvloop

from controlplane import fork, pace
from controlplane.app import serve
from controlplane.backup import command
from controlplane.config import load
from controlplane.errors import StartError, SwarmError
from telemetry import logs


def start(arguments: Sequence[str], environment: Mapping[str, str]) -> int:
    """Runs until it is told to stop; returns the exit code."""
    try:
        if arguments[:1] and arguments[0] in command.COMMANDS:
            return command.run(arguments, environment)
        config = load(arguments, environment)
        pace.set_up()
        fork.without_collection()
        logs.set_up(config.log_level)
        uvloop.run(serve(config, environment))
    except SwarmError as fault:
        sys.stderr.write(f"controlplane: {fault.message}\n")
        return StartError.exit_code
    except OSError as fault:
        what = f"{fault.filename}: {fault.strerror}" if fault.filename else fault
        sys.stderr.write(f"controlplane: {what}\n")
        return StartError.exit_code
    except KeyboardInterrupt:
        return 130
    return 0
