"""What git says, as it says it, and whose fault that is."""

from __future__ import annotations

import pytest

from hostd.git.blame import blamed
from hostd.git.command import GitError, complaint

SAID = {
    "fatal: unable to access 'http://h/x/': The requested URL returned error: 429": "git_rate_limited",
    "remote: Too many requests\nfatal: the remote end hung up unexpectedly": "git_rate_limited",
    "fatal: unable to access 'http://h/x/': The requested URL returned error: 503": "git_down",
    "fatal: unable to access 'https://h/x/': Could not resolve host: h": "git_down",
    "fatal: unable to access 'http://h/': Failed to connect to h port 80: Connection refused": "git_down",
    "ssh: connect to host h port 22: Connection timed out\n"
    "fatal: Could not read from remote repository.\n\n"
    "Please make sure you have the correct access rights\nand the repository exists.": "git_down",
    "git took longer than 1800 s": "git_down",
    "": "git_down",
    "remote: Not Found\nfatal: repository 'http://h/x/' not found": "bad_ticket",
    "fatal: Authentication failed for 'https://h/x/'": "bad_ticket",
    "fatal: could not read Username for 'https://h': terminal prompts disabled": "bad_ticket",
    "fatal: unable to access 'https://h/x/': The requested URL returned error: 403": "bad_ticket",
    "git@h: Permission denied (publickey).\nfatal: Could not read from remote repository.": "bad_ticket",
    "fatal: '/x' does not appear to be a git repository\nfatal: Could not read from remote repository.": "bad_ticket",
    "! [remote rejected] abc -> x (hook declined)\nerror: failed to push some refs to '/x'": "push_failed",
    "fatal: cannot open '/m/FETCH_HEAD': No such file or directory": "git_down",
    "ERROR: Repository not found.\nfatal: Could not read from remote repository.": "bad_ticket",
    "fatal: write error: No space left on device": "host_failed",
}


@pytest.mark.parametrize("said", SAID)
def test_the_words_of_git_name_a_cause(said: str) -> None:
    error = blamed("cannot fetch it", GitError(128, complaint(said.encode())))
    assert error.cause == SAID[said]
    assert str(error).startswith("cannot fetch it: ")
