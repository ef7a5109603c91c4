"""Random messages, well formed and odd, to every method: whatever they hold, the answer is a typed one."""

from __future__ import annotations

import random
import time
from itertools import count
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from controlplane.api.methods import methods, services
from tests.extent import either, minutes, seed
from tests.fakes.control import Control, control_plane
from tests.integration.controlplane.calls import METHODS, bearer, outcome

TEXTS = [
    "",
    "x",
    "TKT-001",
    "tk_" + "0" * 26,
    "local",
    "echo",
    "echo@",
    "@",
    "\0",
    "../../etc/passwd",
    "'; DROP TABLE tickets; --",
    "%_*?[",
    "\u202e\u200b\ufeff",
    "ext::sh -c true",
    "--upload-pack=x",
    "file:///etc",
    "http://169.254.169.254/",
    "a..b",
    "refs/../x",
    "é" * 300,
    "x" * 70_000,
    "9" * 40,
    "NaN",
]
NUMBERS = [0, 1, 2, 9, 10, 255, 2**31 - 1]
REALS = [0.0, -0.0, 1.5, float("nan"), float("inf"), -1e308]
MOST_DEEP = 5


def fill(message: Message, rng: random.Random, depth: int = 0) -> None:
    """Sets about half of the fields."""
    for field in message.DESCRIPTOR.fields:
        if rng.random() < 0.5 or (depth > MOST_DEEP and field.message_type):
            continue
        if field.is_repeated:
            fill_many(message, field, rng, depth)
        elif field.message_type:
            child: Message = getattr(message, field.name)
            child.SetInParent()
            fill(child, rng, depth + 1)
        else:
            setattr(message, field.name, scalar(field, rng))


def fill_many(message: Message, field: Any, rng: random.Random, depth: int) -> None:
    found: Any = getattr(message, field.name)
    for _ in range(rng.randrange(4 if depth < 2 else 2)):  # deep and broad would never end
        if field.message_type and field.message_type.GetOptions().map_entry:
            value = field.message_type.fields_by_name["value"]
            key = rng.choice(TEXTS)[:100]
            if value.message_type:
                fill(found[key], rng, depth + 1)
            else:
                found[key] = scalar(value, rng)
        elif field.message_type:
            fill(found.add(), rng, depth + 1)
        else:
            found.append(scalar(field, rng))


def scalar(field: Any, rng: random.Random) -> Any:
    if field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
        text = rng.choice(TEXTS)
        return text.encode() if field.type == FieldDescriptor.TYPE_BYTES else text
    if field.cpp_type in {FieldDescriptor.CPPTYPE_DOUBLE, FieldDescriptor.CPPTYPE_FLOAT}:
        return rng.choice(REALS)
    if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        return rng.random() < 0.5
    return rng.choice(NUMBERS)


@pytest.mark.timeout(600 + 120 * minutes())
async def test_random_messages_get_typed_answers(home: Path) -> None:
    """Each seed has a control plane of its own, so that it alone does it again."""
    first, until = either(0, seed()), time.monotonic() + 60 * minutes()
    for number in count(first):
        async with control_plane(home / str(number), rate_limit=10**6, rate_limit_admin=10**6) as control:
            await meet(control, number)
        if number >= first + 3 and time.monotonic() >= until:
            return


async def meet(control: Control, number: int) -> None:
    """Six messages for every method, the same for each number."""
    rng = random.Random(number)
    known = methods(services())
    async with control.client() as client, control.channel() as channel:
        await client.registry.list()
        for method in METHODS:
            token = control.token("local" if "hostlink" in method.name else "")
            for _ in range(6):
                request = known[method.name].request()
                fill(request, rng)
                error = await outcome(channel, method, request.SerializeToString(), bearer(token), timeout=5)
                code = error.code() if error else grpc.StatusCode.OK
                told = f"SWARM_SEED={number}: {method.name} {request}"
                assert code not in {grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN}, told
