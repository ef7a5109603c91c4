"""JSON as RFC 8259 has it and no more: each key once, UTF-8, whole characters, no NaN."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, Final, NoReturn

from controlplane.errors import InvalidInput, Violation
from controlplane.gateway.protojson.faults import step
from ext.jsonreader import unique
from ext.jsontable import Refused

_LONE: Final = re.compile("[\ud800-\udfff]")
_ESCAPED: Final = re.compile(rb"\\u[dD][89a-fA-F]")


def parse(body: bytes) -> Any:
    """The value that `body` holds; `InvalidInput` says what is no JSON."""
    try:
        value = _decode(body.decode())
    except UnicodeDecodeError as error:
        raise _refusal(f"is not UTF-8 at byte {error.start}") from None
    except json.JSONDecodeError as error:
        raise _refusal(f"is not JSON: {error.msg} at line {error.lineno}, column {error.colno}") from None
    except RecursionError:
        raise _refusal("is nested too deeply") from None
    except ValueError as error:
        raise _refusal(str(error) if isinstance(error, Refused) else "holds a number that is too long") from None
    if _ESCAPED.search(body):
        for at in _broken(value, ""):
            raise InvalidInput("half a surrogate pair", violations=(Violation(at, "holds half a surrogate pair"),))
    return value


def _constant(name: str) -> NoReturn:
    raise Refused(f'is not JSON: {name} is written "{name}"')


_decode: Final = json.JSONDecoder(object_pairs_hook=unique, parse_constant=_constant).decode


def _refusal(why: str) -> InvalidInput:
    return InvalidInput(f"the body {why}", violations=(Violation("", why),))


def _broken(value: Any, at: str) -> Iterator[str]:
    """Pointers of strings and keys with a lone surrogate; the pointers themselves hold none."""
    if isinstance(value, str):
        if _LONE.search(value):
            yield at
    elif isinstance(value, dict):
        for key, item in value.items():
            if _LONE.search(key):
                yield at
            yield from _broken(item, step(at, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _broken(item, step(at, index))
