"""Write constraints.txt: the newest versions that pyproject.toml allows, resolved in a fresh environment."""

from __future__ import annotations

import subprocess
import tempfile
import tomllib
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HEADER = "# Exact versions of every package, for reproducible environments. Renew with: make lock\n"


def requirements() -> list[str]:
    """Build, run-time and development requirements of the project."""
    config = tomllib.loads((ROOT / "pyproject.toml").read_text())
    project = config["project"]
    return [*config["build-system"]["requires"], *project["dependencies"], *project["optional-dependencies"]["dev"]]


def main() -> None:
    with tempfile.TemporaryDirectory() as scratch:
        venv.create(scratch, with_pip=True)
        pip = [f"{scratch}/bin/python", "-m", "pip", "--disable-pip-version-check"]
        subprocess.run([*pip, "install", "--quiet", *requirements()], check=True)
        freeze = subprocess.run([*pip, "freeze", "--all"], check=True, capture_output=True, text=True).stdout
    pins = sorted((line for line in freeze.splitlines() if not line.startswith("pip==")), key=str.lower)
    (ROOT / "constraints.txt").write_text(HEADER + "\n".join(pins) + "\n")


if __name__ == "__main__":
    main()
