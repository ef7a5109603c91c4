"""What a call gets to know of gRPC's metadata."""

from __future__ import annotations

from typing import Any

import pytest

from controlplane.api.grpc_edge import metadata_of


class Context:
    """A call's context with nothing but its metadata."""

    def __init__(self, *pairs: tuple[str, str | bytes]) -> None:
        self._pairs = pairs or None

    def invocation_metadata(self) -> Any:
        return self._pairs


@pytest.mark.parametrize(
    ("pairs", "found"),
    [
        ((), {}),
        ((("a", "1"), ("b", "2")), {"a": "1", "b": "2"}),
        (
            (("x-forwarded-for", "1.1.1.1"), ("a", "1"), ("x-forwarded-for", "10.0.0.1, 10.0.0.2")),
            {"x-forwarded-for": "1.1.1.1, 10.0.0.1, 10.0.0.2", "a": "1"},
        ),
        ((("a-bin", b"\\0"), ("a", "1")), {"a": "1"}),
        ((("a", "1"), ("a-bin", b"\\0"), ("a-bin", b"\\1"), ("a", "2")), {"a": "1, 2"}),
    ],
)
def test_lines_of_one_name_are_one_value(pairs: Any, found: dict[str, str]) -> None:
    context: Any = Context(*pairs)
    assert metadata_of(context) == found
