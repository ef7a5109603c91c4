"""`python -m hostd`: see --help."""

from __future__ import annotations

import os
import sys

import uvloop

from hostd import config, logs
from hostd.errors import ConfigError, HostError


def main() -> int:
    """Exit code: 0 after a clean stop, otherwise the error's, with one line per fault on stderr."""
    # gRPC's fork handlers would have every child wait for its threads; children here only exec.
    os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
    from hostd.app import serve  # noqa: PLC0415  # gRPC reads the variable when it is imported

    try:
        settings = config.load(sys.argv[1:], os.environ)
        logs.setup(settings.log_level, settings.instance)
        uvloop.run(serve(settings))
    except ConfigError as error:
        for fault in error.faults:
            sys.stderr.write(f"hostd: {fault}\n")
        return error.exit_code
    except HostError as error:
        sys.stderr.write(f"hostd: {error}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
