from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from controlplane.domain import bundle
from controlplane.domain.call import Call
from controlplane.errors import AlreadyExists, InvalidInput, NotFound, StartError
from controlplane.ports import Store
from controlplane.usecases import agents, publishing


def folder(parent: Path, name: str = "mine", program: str = "#!/bin/sh\n", **manifest: Any) -> Path:
    made = parent / name
    made.mkdir(parents=True, exist_ok=True)
    plain = {
        "name": name,
        "version": "1.0.0",
        "description": "",
        "command": ["./run"],
        "input_schema": {"type": "object"},
    }
    (made / "agent.json").write_text(json.dumps({**plain, **manifest}))
    (made / "run").write_text(program)
    (made / "run").chmod(0o755)
    return made


async def publish(store: Store, call: Call, content: bytes) -> Any:
    return await store.write(lambda tx: publishing.publish_agent(tx, call, content))


async def test_a_published_agent_is_found_with_its_bundle(store: Store, call: Call, tmp_path: Path) -> None:
    content = bundle.pack(folder(tmp_path))
    agent = await publish(store, call, content)
    assert (agent.name, agent.command, agent.built_in) == ("mine", ("./run",), False)
    assert await store.read(lambda reader: agents.get_agent(reader, call, "mine@1.0.0")) == agent
    assert await store.read(lambda reader: reader.bundle(agent.digest)) == content
    assert await publish(store, call, content) == agent
    with pytest.raises(NotFound):
        await store.read(lambda reader: agents.get_agent(reader, call, "mine@2.0.0"))


async def test_a_version_is_published_once_and_a_built_in_name_never(store: Store, call: Call, tmp_path: Path) -> None:
    await publish(store, call, bundle.pack(folder(tmp_path)))
    with pytest.raises(AlreadyExists, match=r"mine@1\.0\.0"):
        await publish(store, call, bundle.pack(folder(tmp_path, program="#!/bin/bash\n")))
    with pytest.raises(AlreadyExists, match="built-in"):
        await publish(store, call, bundle.pack(folder(tmp_path, "echo", version="9.0.0")))
    newer = await publish(store, call, bundle.pack(folder(tmp_path, version="1.1.0")))
    assert newer.version == "1.1.0"


async def test_what_is_no_bundle_is_refused(store: Store, call: Call, tmp_path: Path) -> None:
    schema = bundle.pack(folder(tmp_path, input_schema={"type": "no such type"}))
    for content in (b"", b"not a tar", schema, schema[: len(schema) // 2]):
        with pytest.raises(InvalidInput) as error:
            await publish(store, call, content)
        assert [one.field for one in error.value.violations] == ["/bundle"]


async def test_built_in_agents_follow_their_folders(store: Store, tmp_path: Path) -> None:
    folder(tmp_path, "one")
    (first,) = await publishing.register_builtins(store, tmp_path)
    folder(tmp_path, "one", program="#!/bin/bash\n")
    folder(tmp_path, "two")
    changed, second = await publishing.register_builtins(store, tmp_path)
    assert (changed.name, changed.built_in, second.name) == ("one", True, "two")
    assert changed.digest != first.digest
    assert await store.read(lambda reader: reader.agent(None, "one")) == changed


async def test_a_broken_built_in_stops_the_start(store: Store, tmp_path: Path) -> None:
    (folder(tmp_path, "one") / "agent.json").write_text("{")
    with pytest.raises(StartError):
        await publishing.register_builtins(store, tmp_path)
