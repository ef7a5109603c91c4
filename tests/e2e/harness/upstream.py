"""A git repository as the outside world has it: bare, with a default branch."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

IDENTITY = {
    "GIT_AUTHOR_NAME": "Somebody",
    "GIT_AUTHOR_EMAIL": "somebody@localhost",
    "GIT_COMMITTER_NAME": "Somebody",
    "GIT_COMMITTER_EMAIL": "somebody@localhost",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CONFIG_SYSTEM": "/dev/null",
}
BRANCH = "main"


def git(*args: str, cwd: Path) -> str:
    """Standard output of one git command."""
    done = subprocess.run(
        ["git", "-c", "safe.directory=*", *args],
        cwd=cwd,
        env={"PATH": os.environ["PATH"], "HOME": str(cwd)} | IDENTITY,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, f"git {' '.join(args)}: {done.stderr}"
    return done.stdout.rstrip("\n")


class Upstream:
    """Seeds and inspects one bare repository at `path`."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def create(cls, path: Path, files: Mapping[str, bytes | str]) -> Upstream:
        """A repository whose only commit holds `files`, by their paths."""
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory() as work:
            for name, content in files.items():
                target = Path(work, name)
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(content.encode() if isinstance(content, str) else content)
                if target.read_bytes().startswith(b"#!"):
                    target.chmod(0o755)
            git("init", "--quiet", f"--initial-branch={BRANCH}", cwd=Path(work))
            git("add", ".", cwd=Path(work))
            git("commit", "--quiet", "--allow-empty", "--message=Begin", cwd=Path(work))
            git("clone", "--quiet", "--bare", work, str(path), cwd=Path(work))
        return cls(path)

    @classmethod
    def copy(cls, path: Path, folder: Path) -> Upstream:
        """A repository that holds the files of `folder`."""
        files = {
            str(each.relative_to(folder)): each.read_bytes()
            for each in sorted(folder.rglob("*"))
            if each.is_file() and "__pycache__" not in each.parts
        }
        return cls.create(path, files)

    def git(self, *args: str) -> str:
        return git(*args, cwd=self.path)

    def branches(self) -> dict[str, str]:
        """Commits by branch name."""
        lines = self.git("for-each-ref", "--format=%(refname:lstrip=2) %(objectname)", "refs/heads").splitlines()
        return dict(line.split(" ", 1) for line in lines)

    def files(self, commit: str = BRANCH) -> set[str]:
        return set(self.git("ls-tree", "-r", "--name-only", commit).splitlines())

    def read(self, path: str, commit: str = BRANCH) -> str:
        return self.git("show", f"{commit}:{path}")

    def contains(self, descendant: str, ancestor: str) -> bool:
        """Whether `ancestor` is in the history of `descendant`."""
        return not self.git("rev-list", "--max-count=1", ancestor, f"^{descendant}")

    def checkout(self, folder: Path, commit: str = BRANCH) -> Path:
        """The files of `commit` in a new folder."""
        git("clone", "--quiet", "--no-checkout", str(self.path), str(folder), cwd=self.path)
        git("checkout", "--quiet", "--detach", self.git("rev-parse", commit), cwd=folder)
        return folder
