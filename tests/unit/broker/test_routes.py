from __future__ import annotations

import os
from collections.abc import AsyncGenerator
from pathlib import Path
from unittest.mock import AsyncMock, Mock

import pytest

from hostd.broker.attempt import Attempt, Terms
from hostd.broker.http1 import Head
from hostd.broker.refusal import Refusal
from hostd.broker.routes import ARTIFACTS, put_artifact
from hostd.ports import Limits


def nothing(*_: object) -> AsyncGenerator[bytes, None]:
    empty: tuple[bytes, ...] = ()

    async def pieces() -> AsyncGenerator[bytes, None]:
        for piece in empty:
            yield piece

    return pieces()


async def test_empty_artifacts_are_counted(tmp_path: Path) -> None:
    attempt = Attempt(0, Terms("at_1", {}, None, "", tmp_path, Limits()), {}, lambda _: None)
    connection = Mock(pieces=nothing, reply_json=AsyncMock())
    for number in range(ARTIFACTS):
        await put_artifact(attempt, connection, Head("PUT", f"/v1/artifacts/{number}", {}, {}, 0))
    with pytest.raises(Refusal) as caught:
        await put_artifact(attempt, connection, Head("PUT", "/v1/artifacts/more", {}, {}, 0))
    assert caught.value.status == 413
    assert len(os.listdir(tmp_path)) == ARTIFACTS  # noqa: PTH208 - a local disk
