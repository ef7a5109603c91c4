"""Field masks of updates."""

from __future__ import annotations

from collections.abc import Sequence

from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message

from controlplane.api.stages.validate import refuse, violations
from controlplane.errors import Violation


def masked_fields(mask: FieldMask, spec: Message) -> Sequence[str]:
    """Names of the fields to take from `spec`, which is checked against the rules in these fields only.

    An empty mask means the fields that are set. Only fields of the spec itself can be named, not parts of them.
    """
    names = tuple(dict.fromkeys(mask.paths)) or tuple(field.name for field, _ in spec.ListFields())
    known = spec.DESCRIPTOR.fields_by_name
    refuse(Violation("/update_mask", f"{name[:100]!r} is no field of the spec") for name in names if name not in known)
    if not names:
        refuse([Violation("/spec", "there is nothing to change")])
    refuse(violations(spec, "/spec", names))
    return names
