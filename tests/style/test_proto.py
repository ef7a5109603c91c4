from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def generated(root: Path, out: Path) -> dict[str, bytes]:
    subprocess.run([sys.executable, "-m", "proto.build", "--out", str(out)], cwd=root, check=True)
    return {str(path.relative_to(out)): path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()}


def test_generating_twice_gives_identical_files(root: Path, tmp_path: Path) -> None:
    first, second = generated(root, tmp_path / "first"), generated(root, tmp_path / "second")
    assert first
    assert first == second


def test_generated_code_is_that_of_the_protos(root: Path, tmp_path: Path) -> None:
    """A stale `proto/gen` would make every other test lie."""
    wanted = generated(root, tmp_path / "fresh")
    present = {name: (root / "proto/gen" / name).read_bytes() for name in wanted}
    assert present == wanted


def test_every_proto_has_its_typed_module(root: Path) -> None:
    missing = [
        str(path)
        for path in (root / "proto/swarm").rglob("*.proto")
        for suffix in ("_pb2.py", "_pb2.pyi")
        if not (root / "proto/gen" / path.relative_to(root / "proto")).with_name(path.stem + suffix).is_file()
    ]
    assert missing == []
