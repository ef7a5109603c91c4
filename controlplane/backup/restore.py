"""Puts a backup in the place of a state directory's database; never half of it."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from controlplane.accounts.tokens import ADMIN_FILE, HOSTS_FOLDER, SUFFIX
from controlplane.audit.keys import seals
from controlplane.audit.trail import FILE as HEADS
from controlplane.backup.archive import unpacked
from controlplane.backup.archivist import TEMPORARY as BACKUP_TEMPORARY
from controlplane.backup.database import examined
from controlplane.backup.manifest import DATABASE, bad
from controlplane.backup.void import begin_epoch
from controlplane.domain.backup import Manifest
from controlplane.domain.epoch import following
from controlplane.errors import StartError
from controlplane.failpoint import hit
from controlplane.secret import Secrets
from controlplane.statedir import locked

TEMPORARY: Final = ".restore-"
MARK: Final = "restoring"
BESIDE: Final = ("-wal", "-shm")

Tell = Callable[[float, str], None]


@dataclass(frozen=True, slots=True)
class Restored:
    """`leases` became void; `kept` is where the database that was there before is now, empty: there was none."""

    manifest: Manifest
    epoch: int
    leases: int
    kept: str


def verify(file: Path, folder: Path, tell: Tell) -> Manifest:
    """Everything that can be told without restoring, with the unpacked files left in `folder`; StartError."""
    manifest = unpacked(file, folder, lambda fraction: tell(0.7 * fraction, "reading"))
    tell(0.7, "verifying")
    found = examined(folder / DATABASE)
    if (found.schema, found.epoch, found.rows) != (manifest.schema, manifest.epoch, dict(manifest.rows)):
        raise bad("its database is not the one that its manifest describes")
    return manifest


def restore(file: Path, state_dir: Path, tell: Tell, *, force: bool, secrets: Secrets | None = None) -> Restored:
    """Restore into `state_dir`, where no control plane may run. With `force` a database that is there is kept aside.

    StartError, and nothing has changed, when the backup or the directory cannot be used.
    """
    with locked(state_dir):
        sweep(state_dir)
        database = state_dir / DATABASE
        if database.exists() and not force:
            words = f"{database} is there already: name another --state-dir, or say --force to put it aside"
            raise StartError(words, reason="already_there")
        with tempfile.TemporaryDirectory(prefix=TEMPORARY, dir=state_dir) as name:
            folder = Path(name)
            manifest = verify(file, folder, tell)
            now = time.time()
            epoch = following(max(manifest.epoch, _epoch_of(database)), now)
            tell(0.9, "beginning a new epoch")
            leases = begin_epoch(folder / DATABASE, epoch, now, seals(secrets or Secrets({}), state_dir))
            hit("restore_before_swap")
            kept = _swap(folder, state_dir, epoch)
    tell(1.0, "restored")
    return Restored(manifest, epoch, leases, kept)


def refuse_half_restored(state_dir: Path) -> None:
    """StartError while a restore was cut off in the moment in which it changed files; for who holds the directory."""
    if (state_dir / MARK).exists():
        words = f"a restore into {state_dir} was cut off: run it again, with --force"
        raise StartError(words, reason="half_restored")
    sweep(state_dir)


def sweep(state_dir: Path) -> None:
    """Remove what a killed backup or restore left."""
    for path in state_dir.glob(f"{TEMPORARY}*"):
        shutil.rmtree(path, ignore_errors=True)
    for path in state_dir.glob(f"{BACKUP_TEMPORARY}*"):
        path.unlink(missing_ok=True)


def _epoch_of(database: Path) -> int:
    """The epoch of the database that is replaced; that may be damaged, which is why it is replaced."""
    try:
        return examined(database).epoch if database.exists() else 0
    except StartError:
        return 0


def _swap(folder: Path, state_dir: Path, epoch: int) -> str:
    """Everything before the last rename can be repeated, and the mark keeps any start away until it is done."""
    database, mark = state_dir / DATABASE, state_dir / MARK
    mark.write_text(f"{epoch}\n", encoding="ascii")
    kept = state_dir / f"{DATABASE}.before-epoch-{epoch}" if database.exists() else None
    if kept is not None:
        for suffix in ("", "-wal"):
            here = Path(f"{database}{suffix}")
            if here.exists() and here.stat().st_size:
                with suppress(FileExistsError):  # linked by a restore that was cut off
                    os.link(here, f"{kept}{suffix}")
    _sync(state_dir)
    for suffix in BESIDE:
        Path(f"{database}{suffix}").unlink(missing_ok=True)
    # A new one is made at the next start: whoever was logged in is not any more.
    (state_dir / ADMIN_FILE).unlink(missing_ok=True)
    _bring_hosts(folder, state_dir)
    with suppress(FileNotFoundError):  # rows that it names are gone with the lost time line
        (state_dir / HEADS).rename(state_dir / f"{HEADS}.before-epoch-{epoch}")
    hit("restore_before_rename")
    (folder / DATABASE).rename(database)
    _sync(state_dir)
    mark.unlink()
    _sync(state_dir)
    return str(kept or "")


def _bring_hosts(folder: Path, state_dir: Path) -> None:
    """Hosts that the directory has no token of come in with the one that they have."""
    hosts = state_dir / HOSTS_FOLDER
    hosts.mkdir(mode=0o700, exist_ok=True)
    for file in (folder / HOSTS_FOLDER).glob("*.digest"):
        if not (hosts / file.name.replace(".digest", SUFFIX)).exists():
            file.replace(hosts / file.name)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
