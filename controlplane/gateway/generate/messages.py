"""Writes where the message classes come from: protoc's Python modules, or the descriptors themselves."""

from __future__ import annotations

import base64
import textwrap

from controlplane.gateway.generate.api import Api

_HEAD = '"""Generated from protos; do not edit."""\n\nfrom __future__ import annotations\n\n'
_CLASS = """

def message_class(name: str) -> type[Message]:
    return GetMessageClass(POOL.FindMessageTypeByName(name))
"""


def from_modules(api: Api) -> str:
    """Classes of the `_pb2` modules that protoc writes for the same files."""
    names = [file.removesuffix(".proto").replace("-", "_").replace("/", ".") + "_pb2" for file in api.files]
    loaded = "".join(f'import_module("{name}")\n' for name in sorted(names))
    return (
        f"{_HEAD}from importlib import import_module\n\n"
        "from google.protobuf.descriptor_pool import Default\n"
        "from google.protobuf.message import Message\n"
        f"from google.protobuf.message_factory import GetMessageClass\n\n{loaded}\nPOOL = Default()\n{_CLASS}"
    )


def from_descriptors(api: Api) -> str:
    """Classes of a pool of its own, out of descriptors that the module holds."""
    lean = type(api.set)()
    for file in api.ordered:
        lean.file.add().CopyFrom(file)
        lean.file[-1].ClearField("source_code_info")
    packed = base64.b64encode(lean.SerializeToString(deterministic=True)).decode()
    lines = "\n".join(f'    "{line}"' for line in textwrap.wrap(packed, 100))
    return (
        f"{_HEAD}import base64\n\n"
        "from google.protobuf.descriptor_pb2 import FileDescriptorSet\n"
        "from google.protobuf.descriptor_pool import DescriptorPool\n"
        "from google.protobuf.message import Message\n"
        "from google.protobuf.message_factory import GetMessageClass\n\n"
        f"POOL = DescriptorPool()\nDESCRIPTORS = (\n{lines}\n)\n"
        "for _file in FileDescriptorSet.FromString(base64.b64decode(DESCRIPTORS)).file:\n    POOL.Add(_file)\n"
        f"{_CLASS}"
    )
