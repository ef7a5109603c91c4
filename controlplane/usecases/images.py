"""Which images the hosts have, as they said last; a host that is away still counts."""

from __future__ import annotations

from typing import Final

from controlplane.errors import FailedPrecondition, Violation
from controlplane.ports import Reader
from controlplane.usecases.hosts import all_hosts

# Every host can make it, and does when it is first asked to.
DEFAULT_IMAGE: Final = "default"


def present_images(reader: Reader) -> frozenset[str]:
    """Names of the images that some host has or makes by itself."""
    return frozenset({DEFAULT_IMAGE}.union(*(host.images for host in all_hosts(reader))))


def missing_image(image: str, field: str, needed_by: str) -> FailedPrecondition:
    """What a caller is told whose ticket no host could ever run; `field` is a JSON pointer."""
    message = f"no host has the image {image}, which {needed_by} needs: `swarm image build {image}` on a host first"
    violation = Violation(field, message)
    return FailedPrecondition(f"{field}: {message}", reason="image_missing", violations=(violation,))
