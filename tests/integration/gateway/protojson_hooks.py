"""Checks for schemathesis, which it loads by itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import schemathesis
from schemathesis.core.failures import AcceptedNegativeData
from schemathesis.specs.openapi.checks import negative_data_rejection


@schemathesis.check
def rejects_what_is_no_protojson(context: Any, response: Any, case: Any) -> None:
    """The JSON mapping takes more than the document tells: null for what is not set, numbers of enums."""
    try:
        negative_data_rejection(context, response, case)
    except AcceptedNegativeData:
        query = case.query or {}
        if None not in leaves(case.body) and not any(str(value).isdigit() for value in leaves(query)):
            raise


def leaves(value: Any) -> Iterator[Any]:
    """What a JSON value holds, however deep."""
    if isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            yield from leaves(each)
    else:
        yield value
