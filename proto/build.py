"""Generate `proto/gen` from `proto/swarm/**.proto`.

Python modules, gRPC stubs and typed `.pyi` files for both, and in `swarm/http` what serves them as JSON over HTTP. The
output depends on the sources, the pinned tools and our generator alone. Run as `python -m proto.build [--out DIR]`.
"""

from __future__ import annotations

import argparse
import hashlib
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from importlib.metadata import version
from pathlib import Path

PROTO = Path(__file__).resolve().parent
GEN = PROTO / "gen"
STAMP = ".stamp"
VALIDATE = "buf/validate/validate.proto"
ROOT = PROTO.parent
HTTP = "swarm/http"
GENERATOR = ("controlplane/gateway/generate/*.py", "controlplane/gateway/template.py", "controlplane/errors.py")
TOOLS = ("grpcio-tools", "mypy-protobuf", "protobuf", "protovalidate", "googleapis-common-protos")


def sources(root: Path = PROTO) -> list[str]:
    """Paths of our protos, relative to `root`, sorted."""
    return sorted(str(path.relative_to(root)) for path in (root / "swarm").rglob("*.proto"))


def fingerprint() -> str:
    """Digest of everything that the output depends on."""
    digest = hashlib.sha256(Path(__file__).read_bytes())
    for tool in TOOLS:
        digest.update(f"{tool}={version(tool)}\n".encode())
    ours = [PROTO / name for name in sources()] + sorted(path for glob in GENERATOR for path in ROOT.glob(glob))
    for path in ours:
        name = str(path.relative_to(ROOT))
        digest.update(name.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def validate_descriptors() -> bytes:
    """FileDescriptorSet of buf/validate/validate.proto and its imports.

    No package ships the .proto itself; protovalidate carries its descriptor.
    """
    from google.protobuf import (  # noqa: PLC0415  # not needed when the stamp is fresh
        descriptor_pb2,
        duration_pb2,
        field_mask_pb2,
        timestamp_pb2,
    )
    from protovalidate._gen.buf.validate import validate_pb  # noqa: PLC0415  # the only place that has it

    files = descriptor_pb2.FileDescriptorSet()
    for module in (descriptor_pb2, duration_pb2, field_mask_pb2, timestamp_pb2):
        module.DESCRIPTOR.CopyToProto(files.file.add())
    files.file.add().ParseFromString(validate_pb.desc().proto.to_binary())
    return files.SerializeToString(deterministic=True)


def protoc(*args: str, root: Path = PROTO) -> None:
    """Run protoc with our include paths; its messages go to stderr and a failure ends the program."""
    with tempfile.TemporaryDirectory() as scratch:
        descriptors = Path(scratch, "validate.binpb")
        descriptors.write_bytes(validate_descriptors())
        bin_dir = Path(sys.executable).parent
        command = [
            sys.executable,
            "-m",
            "grpc_tools.protoc",
            f"--plugin=protoc-gen-mypy={bin_dir / 'protoc-gen-mypy'}",
            f"--plugin=protoc-gen-mypy_grpc={bin_dir / 'protoc-gen-mypy_grpc'}",
            f"--descriptor_set_in={descriptors}",
            f"-I{root}",
            f"-I{sysconfig.get_path('purelib')}",
            *args,
        ]
        if subprocess.run(command, check=False).returncode:
            sys.exit("protoc failed: see its messages above")


def generate(out: Path) -> None:
    """Write all generated modules below `out`, an empty or absent folder."""
    out.mkdir(parents=True, exist_ok=True)
    ours = sources()
    messages = [f"--python_out={out}", f"--mypy_out=quiet:{out}"]
    protoc(*messages, VALIDATE)
    if ours:
        protoc(*messages, f"--grpc_python_out={out}", f"--mypy_grpc_out=quiet:{out}", *ours)
        serve(out / HTTP, ours)
    for folder in sorted(path for path in out.rglob("*") if path.is_dir()):
        (folder / "__init__.py").touch()
    for package in out.iterdir():
        (package / "py.typed").touch()
    remove_empty_services(out)


def serve(out: Path, ours: list[str]) -> None:
    """Write routes, codecs and documents of the public surface; a method without a route or policy ends the program."""
    out.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as scratch:
        plugin = Path(scratch, "protoc-gen-http")
        plugin.write_text(f"#!/bin/sh\nPYTHONPATH='{ROOT}' exec '{sys.executable}' -m controlplane.gateway.generate\n")
        plugin.chmod(0o700)
        options = "--http_opt=strict,shallow_masks,title=Swarm"
        protoc(f"--plugin=protoc-gen-http={plugin}", f"--http_out={out}", options, *ours)


def remove_empty_services(out: Path) -> None:
    """Drop the gRPC modules of protos that define no service."""
    for module in out.rglob("*_pb2_grpc.py"):
        if "Servicer" not in module.read_text():
            module.unlink()
            module.with_suffix(".pyi").unlink(missing_ok=True)


def image(target: Path, root: Path = PROTO) -> None:
    """Write the protos below `root`, with what they import and their comments, as one descriptor set."""
    flags = ("--include_imports", "--include_source_info", f"--descriptor_set_out={target}")
    protoc(*flags, *sources(root), root=root)


def build() -> bool:
    """Bring `proto/gen` up to date; False when it already was."""
    stamp, wanted = GEN / STAMP, fingerprint()
    if stamp.is_file() and stamp.read_text() == wanted:
        return False
    with tempfile.TemporaryDirectory(dir=PROTO, prefix=".gen-") as scratch:
        fresh = Path(scratch, "gen")
        generate(fresh)
        (fresh / STAMP).write_text(wanted)
        shutil.rmtree(GEN, ignore_errors=True)
        fresh.rename(GEN)
    return True


def main() -> None:
    parser = argparse.ArgumentParser(description="Generate Python code from the protos.")
    parser.add_argument("--out", type=Path, help="write to this folder, always")
    options = parser.parse_args()
    if options.out:
        generate(options.out)
    else:
        sys.stderr.write("proto/gen: generated\n" if build() else "proto/gen: up to date\n")


if __name__ == "__main__":
    main()
