"""Generates from a descriptor set, or as a protoc plugin when it gets no arguments."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.message import DecodeError

from controlplane.gateway.generate import plugin
from controlplane.gateway.generate.api import Api, Refusal
from controlplane.gateway.generate.output import Options, generated, left_out


def arguments(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m controlplane.gateway.generate", description=__doc__)
    parser.add_argument("--descriptor-set", type=Path, required=True, metavar="FILE", help="with --include_imports")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="a Python package after this")
    parser.add_argument("--strict", action="store_true", help="refuse methods without a route or a policy")
    parser.add_argument("--modules", action="store_true", help="use the _pb2 modules that protoc has written")
    parser.add_argument("--shallow-masks", action="store_true", help="PATCH: masks name fields of the body only")
    parser.add_argument("--title", default="API", help="of the OpenAPI document")
    return parser.parse_args(argv)


def main(argv: Sequence[str]) -> int:
    if not argv:
        return plugin.run(sys.stdin.buffer, sys.stdout.buffer, sys.stderr)
    chosen = arguments(argv)
    try:
        api = Api(FileDescriptorSet.FromString(chosen.descriptor_set.read_bytes()))
        options = Options(chosen.strict, chosen.modules, chosen.shallow_masks, chosen.title)
        for path, content in generated(api, options).items():
            target = chosen.out / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(content)
    except (OSError, DecodeError, Refusal) as fault:
        sys.stderr.write(f"{fault}\n")
        return 1
    sys.stderr.writelines(f"{line}\n" for line in left_out(api, options))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
