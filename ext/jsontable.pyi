"""Tables of message types, by which `ext.jsonwriter` and `ext.jsonreader` go between wire bytes and JSON."""

from collections.abc import Callable, Mapping
from typing import Any, final

class Refused(ValueError):
    """One value that a field does not take, or that JSON cannot say; the text follows the field's name."""

@final
class Field:
    """One field of a message.

    `kind` is its number in FieldDescriptorProto.Type; for a map the kind is MESSAGE and `table` that of its entries.
    `absent` is the JSON of a field that is not there. `null`: null is a value. `oneof` counts the oneofs of the
    message from 0. An enum has `numbers` by name and `texts`, which are JSON, by number; one without `texts` is
    always null. `convert` makes a value of the field of JSON of any type, or raises `Refused`; `text` makes JSON of
    the number of a FLOAT.
    """

    name: str
    def __init__(
        self,
        name: str,
        number: int,
        kind: int,
        *,
        repeated: bool = False,
        is_map: bool = False,
        presence: bool = False,
        required: bool = False,
        null: bool = False,
        closed: bool = False,
        oneof: int = -1,
        absent: bytes = b"null",
        table: Table | None = None,
        numbers: Mapping[str, int] | None = None,
        texts: Mapping[int, bytes] | None = None,
        convert: Callable[[Any], Any] | None = None,
        text: Callable[[float], str] | None = None,
    ) -> None: ...

@final
class Table:
    """One message type. `form` says what its JSON is.

    0: an object of its fields. 1: that of its first field. 2: any JSON, as of google.protobuf.Value. 3: a time, as of
    google.protobuf.Timestamp, which `read(json)` takes and returns as seconds and nanoseconds. 4: a duration, for
    which there is `write(seconds, nanos)` too. 5: what `write(wire bytes)` makes and `read(json, pointer, faults)`
    takes, which returns wire bytes.
    """

    name: str
    def __init__(
        self,
        name: str,
        form: int = 0,
        *,
        write: Callable[..., str] | None = None,
        read: Callable[..., Any] | None = None,
    ) -> None: ...
    def fill(self, fields: tuple[Field, ...], names: dict[str, Field]) -> None:
        """Once: tables hold each other. `names` are all spellings."""
