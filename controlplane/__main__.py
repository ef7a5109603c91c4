"""`python -m controlplane --state-dir DIR`."""

from __future__ import annotations

import os
import sys

import uvloop

from controlplane import logs
from controlplane.app import serve
from controlplane.config import load
from controlplane.errors import StartError


def main() -> int:
    """Exit code: 0 after a clean stop, 2 when it cannot start, with one line that says why."""
    try:
        config = load(sys.argv[1:], os.environ)
        logs.set_up(config.log_level)
        uvloop.run(serve(config))
    except StartError as fault:
        sys.stderr.write(f"controlplane: {fault.message}\n")
        return fault.exit_code
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
