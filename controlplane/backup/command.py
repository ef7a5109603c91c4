"""`python -m controlplane restore FILE` and `verify FILE`: JSON lines of progress, and one with the result."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from controlplane.backup.restore import restore, verify
from controlplane.secret import Secrets

COMMANDS: Final = ("restore", "verify")


def run(arguments: Sequence[str], environment: Mapping[str, str]) -> int:
    """The exit code; StartError says in one line why nothing was done."""
    given = _parser().parse_args(arguments)
    if given.command == "verify":
        with tempfile.TemporaryDirectory(prefix="swarm-verify-") as folder:
            result = asdict(verify(given.file, Path(folder), _tell))
    else:
        state_dir = given.state_dir.absolute()
        secrets = Secrets(environment, state_dir / ".env")
        secrets.load()
        result = asdict(restore(given.file, state_dir, _tell, force=given.force, secrets=secrets))
    _say({"result": result})
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m controlplane", description="Backups of a control plane.")
    commands = parser.add_subparsers(dest="command", required=True)
    verifying = commands.add_parser("verify", help="check a backup and say what is in it")
    restoring = commands.add_parser("restore", help="put a backup in the place of a database")
    for each in (verifying, restoring):
        each.add_argument("file", type=Path)
    restoring.add_argument("--state-dir", type=Path, required=True)
    restoring.add_argument("--force", action="store_true", help="put a database that is there aside")
    return parser


def _tell(fraction: float, step: str) -> None:
    _say({"fraction": round(fraction, 3), "step": step})


def _say(data: Any) -> None:
    sys.stdout.write(json.dumps(data) + "\n")
    sys.stdout.flush()
