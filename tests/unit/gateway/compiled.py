"""Protos of the tests through protoc and the generator, and what came of them imported."""

from __future__ import annotations

import importlib
import subprocess
import sys
import sysconfig
from pathlib import Path
from types import ModuleType
from typing import Any

from google.protobuf.descriptor_pb2 import FileDescriptorSet

PROTOS = Path(__file__).parent / "protos"


def descriptor_set(folder: Path, target: Path, *names: str) -> FileDescriptorSet:
    """What protoc makes of files of the folder."""
    command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{folder}", f"-I{sysconfig.get_path('purelib')}"]
    flags = ["--include_imports", "--include_source_info", f"--descriptor_set_out={target}"]
    subprocess.run([*command, *flags, *names], check=True)
    return FileDescriptorSet.FromString(target.read_bytes())


def generate(descriptors: Path, out: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    """Runs the command."""
    command = [sys.executable, "-m", "controlplane.gateway.generate", "--descriptor-set", descriptors, "--out", out]
    return subprocess.run([*map(str, command), *flags], check=False, capture_output=True, text=True)


def imported(out: Path, module: str) -> ModuleType:
    """A module of generated output, whose folder is a package."""
    if str(out.parent) not in sys.path:
        sys.path.insert(0, str(out.parent))
    importlib.invalidate_caches()
    return importlib.import_module(f"{out.name}.{module}")


class Generated:
    """Output for all protos of the tests. Messages are of a pool of their own."""

    def __init__(self, scratch: Path) -> None:
        self.descriptors = scratch / "tests.binpb"
        names = sorted(path.name for path in PROTOS.glob("*.proto"))
        descriptor_set(PROTOS, self.descriptors, *names)
        self.out = scratch / "generated_for_tests"
        self.said = generate(self.descriptors, self.out)
        assert self.said.returncode == 0, self.said.stderr
        self.routes = imported(self.out, "routes").ROUTES
        self.pool = imported(self.out, "messages").POOL
        self.codecs = imported(self.out, "codecs").BY_NAME

    def codec(self, name: str) -> Any:
        return self.codecs[name]

    def new(self, name: str, **fields: Any) -> Any:
        return self.codecs[name].new(**fields)
