"""Entry point: ``python -m hostd.broker --fd N --uid U --gid G``, started by hostd and by nobody else."""

from __future__ import annotations

import argparse
import signal

import uvloop

from hostd.broker import confine
from hostd.broker.service import Service, adopt
from hostd.git import secrets


def main() -> None:
    """Shed all rights first, then serve until hostd hangs up."""
    parser = argparse.ArgumentParser(prog="hostd.broker")
    for name in ("--fd", "--uid", "--gid"):
        parser.add_argument(name, type=int, required=True)
    options = parser.parse_args()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl-C is for hostd, which ends us in its own time
    secrets.preload()
    confine.become(options.uid, options.gid)
    uvloop.run(Service(adopt(options.fd)).run())


if __name__ == "__main__":
    main()
