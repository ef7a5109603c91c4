"""Credentials are read by git, and never changed by it."""

from __future__ import annotations

from pathlib import Path

from controlplane.forge.git import Account, Credentials, Git

LINE = "https://bot:pass%40word@git.invalid\n"
ASKED = b"protocol=https\nhost=git.invalid\n\n"


async def test_the_file_answers_and_survives_a_refusal(tmp_path: Path) -> None:
    store = tmp_path / "it's here"
    store.write_text(LINE)
    git = Git(tmp_path / "repository.git", Account(), Credentials(store))
    await git.run("init", "--bare", "--quiet", "--template=", str(git.directory))
    answer = await git.text("credential", "fill", stdin=ASKED)
    await git.run("credential", "reject", stdin=ASKED[:-1] + f"{answer}\n\n".encode())
    await git.run("credential", "approve", stdin=b"protocol=https\nhost=other.invalid\nusername=a\npassword=b\n\n")

    assert "password=pass@word" in answer.splitlines()
    assert store.read_text() == LINE
