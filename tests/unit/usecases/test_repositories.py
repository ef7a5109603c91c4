"""A repository that cannot be read is told of before anything is filed."""

from __future__ import annotations

import pytest

from controlplane.domain.call import Call
from controlplane.errors import InvalidInput
from controlplane.usecases.repositories import expect_repository
from controlplane.usecases.services import Services
from tests.fakes.fleet import FakeForge


async def test_an_unreadable_local_repository_is_refused_at_its_field(
    services: Services, forge: FakeForge, call: Call
) -> None:
    forge.unreadable.add("/srv/absent.git")

    with pytest.raises(InvalidInput) as refused:
        await expect_repository(services, call, "/srv/absent.git", "/repository")

    assert [violation.field for violation in refused.value.violations] == ["/repository"]


@pytest.mark.parametrize("named", ["", None, 7, "https://example.org/a.git", "/srv/../etc"])
async def test_what_is_remote_or_faulty_anyway_is_not_asked(
    services: Services, forge: FakeForge, call: Call, named: object
) -> None:
    await expect_repository(services, call, named, "/repository")

    assert forge.calls == []
