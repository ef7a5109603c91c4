"""The files of the repository, as git tracks them."""

from __future__ import annotations

import subprocess
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
PRODUCT = ("controlplane/", "hostd/", "ext/", "clients/", "bench/", "proto/", "deploy/", "setup.py")


@cache
def tracked() -> tuple[Path, ...]:
    """Paths relative to the top folder, sorted; those deleted but not yet committed are left out."""
    names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return tuple(Path(name) for name in sorted(names.split("\0")) if name and (ROOT / name).is_file())


def texts() -> dict[str, str]:
    """Content of each tracked file that is UTF-8 text."""
    found = {}
    for path in tracked():
        try:
            found[str(path)] = (ROOT / path).read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
    return found


def product(*suffixes: str) -> dict[str, str]:
    """Content of the tracked product files with one of these suffixes."""
    return {name: text for name, text in texts().items() if name.startswith(PRODUCT) and name.endswith(suffixes)}
