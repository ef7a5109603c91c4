"""Git against a broker that comes and goes, played by a script in its place."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from hostd.guest import checkout
from hostd.guest.checkout import Repository, cut_off
from hostd.guest.failure import Failure

AWAY = "fatal: unable to access 'http://10.0.0.1/git/repo.git/': Empty reply from server"
CUT = "error: RPC failed; curl 18 transfer closed with outstanding read data remaining"
GONE = "fatal: unable to access 'http://10.0.0.1/git/repo.git/': The requested URL returned error: 409"
SCRIPT = """#!/bin/sh
echo run >> runs
line=$(sed -n "$(wc -l < runs)p" says)
[ "$line" = ok ] && exit 0
echo "$line" >&2
exit 128
"""


def repository(folder: Path, monkeypatch: pytest.MonkeyPatch, *says: str) -> Repository:
    """One whose git says a line at each run and fails, or is ok."""
    monkeypatch.setattr(checkout, "PAUSES_S", (0.01, 0.02))
    (folder / "says").write_text("".join(f"{line}\n" for line in says))
    (folder / "git").write_text(SCRIPT)
    (folder / "git").chmod(0o755)
    env = {"PATH": f"{folder}:{os.environ['PATH']}", "HOME": str(folder)}
    monkeypatch.setenv("PATH", env["PATH"])
    terms = {"url": "http://10.0.0.1/git/repo.git", "push_ref": "refs/heads/swarm/TKT-001/a1", "base": "a" * 40}
    return Repository(terms, str(folder), env, lambda _: None, time.monotonic() + 60)


def runs(folder: Path) -> int:
    return len((folder / "runs").read_text().splitlines())


def test_a_push_that_is_cut_off_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    repository(tmp_path, monkeypatch, AWAY, CUT, "ok").push()
    assert runs(tmp_path) == 3


def test_a_broker_that_stays_away_fails_the_push(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Failure, match="Empty reply") as failed:
        repository(tmp_path, monkeypatch, AWAY, AWAY, AWAY, "ok").push()
    assert (failed.value.cause, runs(tmp_path)) == ("push_failed", 3)


@pytest.mark.parametrize(
    ("line", "cause"),
    [
        ("remote: refused: 1 critical finding(s)", "checks_refused"),
        ("error: src refspec HEAD does not match any", "push_failed"),
        (GONE, "push_failed"),
    ],
)
def test_what_was_answered_is_not_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str, cause: str
) -> None:
    with pytest.raises(Failure) as failed:
        repository(tmp_path, monkeypatch, line, "ok").push()
    assert (failed.value.cause, runs(tmp_path)) == (cause, 1)


def test_the_last_word_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Failure, match="critical"):
        repository(tmp_path, monkeypatch, CUT, "remote: refused: 1 critical finding(s)").push()


def test_a_fetch_that_is_cut_off_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".git").mkdir()
    repository(tmp_path, monkeypatch, "ok", CUT, "ok", "ok").prepare()
    assert runs(tmp_path) == 4  # init, fetch twice, checkout


def test_only_broken_connections_are_cut_off() -> None:
    assert all(map(cut_off, (AWAY, CUT, "fatal: the remote end hung up unexpectedly", "fatal: early EOF")))
    assert not any(map(cut_off, (GONE, "remote: refused: early", "hello")))
