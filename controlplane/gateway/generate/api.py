"""The protos of one API, as their descriptors say them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from typing import Any, Final

from google.protobuf import descriptor_pb2
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor, MethodDescriptor, ServiceDescriptor
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from controlplane.gateway.generate.comments import comments

HTTP: Final = "google.api.http"
# Files that only define options or stand for themselves: generated from where an API uses their messages.
_ACCESSORIES: Final = ("google/api/", "google/protobuf/", "buf/validate/", "swarm/options/")


class Refusal(Exception):  # it refuses, as the errors of the product do
    """The API breaks rules; one line each, with file, RPC and rule."""

    def __init__(self, faults: Sequence[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = tuple(faults)


class Api:
    """`targets` are the files to generate for; none: all that are no accessories."""

    def __init__(self, files: descriptor_pb2.FileDescriptorSet, targets: Iterable[str] = ()) -> None:
        self.set = files
        self.pool = DescriptorPool()
        self._protos = {file.name: file for file in files.file}
        try:
            for file in _in_order(self._protos):
                self.pool.Add(file)
        except (TypeError, KeyError) as fault:
            raise Refusal([f"the descriptors do not fit together: {fault}"]) from None
        wanted = set(targets) or {name for name in self._protos if not name.startswith(_ACCESSORIES)}
        self.targets = sorted(wanted)

    @property
    def ordered(self) -> Iterator[descriptor_pb2.FileDescriptorProto]:
        """All files, each after those that it imports."""
        return _in_order(self._protos)

    @property
    def services(self) -> Iterator[ServiceDescriptor]:
        for name in self.targets:
            yield from self.pool.FindFileByName(name).services_by_name.values()

    @property
    def methods(self) -> Iterator[MethodDescriptor]:
        for service in self.services:
            yield from service.methods

    @cached_property
    def messages(self) -> Sequence[Descriptor]:
        """All messages of the targets and what these hold, by name; entries of maps are no messages of their own."""
        found: dict[str, Descriptor] = {}
        waiting = [message for name in self.targets for message in _messages(self._protos[name], self.pool)]
        waiting += [kind for method in self.methods for kind in (method.input_type, method.output_type)]
        while waiting:
            message = waiting.pop()
            if message.full_name in found or is_map_entry(message):
                waiting += [] if message.full_name in found else list(_held(message))
                found.setdefault(message.full_name, message)
                continue
            found[message.full_name] = message
            waiting += _held(message)
        return [found[name] for name in sorted(found) if not is_map_entry(found[name])]

    @cached_property
    def enums(self) -> Sequence[EnumDescriptor]:
        """The enums of all fields, and those of the targets."""
        fields = (field for message in self.messages for field in message.fields)
        found = {field.enum_type.full_name: field.enum_type for field in map(value_field, fields) if field.enum_type}
        return [found[name] for name in sorted(found)]

    @cached_property
    def files(self) -> Sequence[str]:
        """Those that something is generated for."""
        return sorted({kind.file.name for kind in (*self.messages, *self.enums)})

    @cached_property
    def _comments(self) -> dict[str, str]:
        return {name: text for file in self._protos.values() for name, text in comments(file)}

    def comment(self, of: Any) -> str:
        """What stands above a service, method, message, field or enum, as one text."""
        return self._comments.get(of.full_name, "")

    def option(self, method: MethodDescriptor, name: str) -> Any:
        """An extension among the options of a method, of the API's own pool; None when it is not set."""
        return self._option("google.protobuf.MethodOptions", method.GetOptions(), name)

    def field_option(self, field: FieldDescriptor, name: str) -> Any:
        return self._option("google.protobuf.FieldOptions", field.GetOptions(), name)

    def _option(self, kind: str, options: Message, name: str) -> Any:
        try:
            extension: Any = self.pool.FindExtensionByName(name)
            known = GetMessageClass(self.pool.FindMessageTypeByName(kind))()
        except KeyError:
            return None
        known.ParseFromString(options.SerializeToString())
        return known.Extensions[extension] if known.HasExtension(extension) else None


def is_map_entry(message: Descriptor) -> bool:
    return bool(message.GetOptions().map_entry)


def is_map(field: FieldDescriptor) -> bool:
    return bool(field.message_type and is_map_entry(field.message_type))


def value_field(field: FieldDescriptor) -> FieldDescriptor:
    """The field itself, or what a map maps to."""
    return message_of(field).fields_by_name["value"] if is_map(field) else field


def key_field(field: FieldDescriptor) -> FieldDescriptor:
    """What a map maps from."""
    return message_of(field).fields_by_name["key"]


def message_of(field: FieldDescriptor) -> Descriptor:
    """The type of a field that holds messages."""
    assert field.message_type is not None
    return field.message_type


def enum_of(field: FieldDescriptor) -> EnumDescriptor:
    """The type of a field of an enum."""
    assert field.enum_type is not None
    return field.enum_type


def local(kind: Descriptor | EnumDescriptor) -> str:
    """A Python name for it within its file."""
    return kind.full_name.removeprefix(kind.file.package).strip(".").replace(".", "_")


def _in_order(files: dict[str, descriptor_pb2.FileDescriptorProto]) -> Iterator[descriptor_pb2.FileDescriptorProto]:
    """Each file after those that it imports."""
    done: set[str] = set()
    waiting = [(name, False) for name in sorted(files, reverse=True)]
    while waiting:
        name, ready = waiting.pop()
        if ready:
            yield files[name]
        elif name not in done and name in files:
            done.add(name)
            waiting.append((name, True))
            waiting += [(needed, False) for needed in files[name].dependency]


def _messages(file: descriptor_pb2.FileDescriptorProto, pool: DescriptorPool) -> Iterator[Descriptor]:
    waiting = list(pool.FindFileByName(file.name).message_types_by_name.values())
    while waiting:
        message = waiting.pop()
        yield message
        waiting += message.nested_types


def _held(message: Descriptor) -> Iterator[Descriptor]:
    return (field.message_type for field in message.fields if field.message_type)
