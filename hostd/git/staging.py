"""The bare repository that one attempt clones from and pushes to, written by hand, then given to the broker's user.

It borrows the objects of the mirror and starts with the refs that the guest needs and no others. The root daemon never
runs git in it afterwards.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from hostd.git.command import User

PARTIAL_MARK = "swarm-partial"
_CONFIG = """\
[core]
\trepositoryformatversion = 0
\tbare = true
\tsharedRepository = 0640
\thooksPath = /dev/null
\tbigFileThreshold = 16m
[gc]
\tauto = 0
[uploadpack]
\tallowFilter = true
\tallowAnySHA1InWant = true
[pack]
\tthreads = 1
\twindowMemory = 64m
"""


def create(
    path: Path, mirror: Path, refs: Mapping[str, tuple[str, str]], head: str, *, owner: User, partial: bool
) -> None:
    """Make the repository anew; `refs` maps a name to its object id and the peeled one, `head` is a branch."""
    remove(path)
    path.mkdir(mode=0o750)
    for folder in ("objects/info", "objects/pack", "refs/heads", "refs/tags"):
        (path / folder).mkdir(mode=0o750, parents=True)
    (path / "HEAD").write_text(f"ref: refs/heads/{head}\n")
    (path / "config").write_text(_CONFIG)
    (path / "objects/info/alternates").write_text(f"{mirror}/objects\n")
    (path / "packed-refs").write_text(_packed(refs))
    if partial:
        (path / PARTIAL_MARK).touch()
    _give(path, owner)


def remove(path: Path) -> None:
    """Remove the repository if it is there."""
    if path.exists():
        shutil.rmtree(path)


def _packed(refs: Mapping[str, tuple[str, str]]) -> str:
    lines = ["# pack-refs with: peeled fully-peeled sorted "]
    for name in sorted(refs):
        commit, peeled = refs[name]
        lines += [f"{commit} {name}", *([f"^{peeled}"] if peeled else [])]
    return "\n".join(lines) + "\n"


def _give(path: Path, owner: User) -> None:
    """From the leaves up: nothing is touched any more below a folder that its new owner can already change."""
    for each in (*sorted(path.rglob("*"), reverse=True), path):
        each.chmod(0o750 if each.is_dir() else 0o640)
        if os.geteuid() == 0:
            os.chown(each, owner.uid, owner.gid, follow_symlinks=False)
