"""From command line to exit code."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence

import uvloop

from hostd import config, fork
from hostd.app import serve
from hostd.errors import ConfigError, HostError
from telemetry import logs
from telemetry.redaction import redact_text


def start(arguments: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run hostd until it is told to stop; faults are one line each on stderr."""
    try:
        settings = config.load(arguments, environment)
        fork.without_collection()
        logs.set_up(settings.log_level, instance=settings.instance)
        uvloop.run(serve(settings))
    except ConfigError as error:
        for fault in error.faults:
            sys.stderr.write(f"hostd: {redact_text(fault)}\n")
        return error.exit_code
    except HostError as error:
        sys.stderr.write(f"hostd: {redact_text(str(error))}\n")
        return error.exit_code
    return 0
