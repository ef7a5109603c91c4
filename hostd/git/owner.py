"""Whose a repository on this machine is, and whether one user alone decides what git does in it."""

from __future__ import annotations

import os
from pathlib import Path

from hostd.errors import RepositoryRefusedError
from hostd.git.command import User

ROOT = 0
_DECIDING = ("HEAD", "config", "hooks", "info", "objects", "refs", ".git")


def owner(path: str) -> User:
    """The owner of a local repository. `RepositoryRefusedError` when somebody else's files steer git there.

    A folder such as /tmp belongs to root, what is in it to anybody: git would run for root what others wrote into its
    configuration.
    """
    try:
        facts = os.stat(path)  # noqa: PTH116 - a local disk
    except OSError as error:
        raise RepositoryRefusedError(f"repository {path}: {error.strerror}") from None
    places = (Path(path, ".git"), Path(path), Path(f"{path}.git"))
    folder = next((place for place in places if (place / "HEAD").exists()), Path(path))
    for name in ("", *_DECIDING):
        if not _belongs(folder / name, facts.st_uid):
            raise RepositoryRefusedError(f"repository {path}: {name or folder} belongs to another user than the folder")
    return User(facts.st_uid, facts.st_gid)


def _belongs(path: Path, uid: int) -> bool:
    try:
        return path.lstat().st_uid in {uid, ROOT}
    except OSError:
        return True  # not there: git will say what it thinks of that
