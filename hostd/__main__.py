"""`python -m hostd`: see --help."""

from __future__ import annotations

import os
import signal
import sys


def main() -> int:
    """Exit code: 0 after a clean stop, otherwise the error's, with one line per fault on stderr."""
    # Until the loop takes signals over, Ctrl-C ends the process without a trace, as SIGTERM does.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    # gRPC reads it when it is imported: its fork handlers would have children, which only exec, wait for its threads.
    os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
    from hostd.start import start  # noqa: PLC0415

    return start(sys.argv[1:], os.environ)


if __name__ == "__main__":
    sys.exit(main())
