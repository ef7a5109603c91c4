"""`python -m controlplane --state-dir DIR`."""

from __future__ import annotations

import os
import sys


def main() -> int:
    """Exit code: 0 after a clean stop, 2 when it cannot start, with one line that says why."""
    # gRPC reads it when it is imported: its fork handlers crash or stall children, which only exec git.
    os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
    from controlplane.start import start  # noqa: PLC0415

    return start(sys.argv[1:], os.environ)


if __name__ == "__main__":
    sys.exit(main())
