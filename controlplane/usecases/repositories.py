"""Whether a repository that somebody names can be worked with, told before anything is filed."""

from __future__ import annotations

from controlplane.domain.call import Call
from controlplane.domain.repository import repository_fault
from controlplane.errors import InvalidInput, Violation
from controlplane.usecases.services import Services


async def expect_repository(services: Services, call: Call, repository: object, pointer: str) -> None:
    """InvalidInput at `pointer` for a repository on this machine that git cannot read, or that has no commit.

    One behind a network is not asked: it may be away for a moment, which is what attempts are repeated for.
    """
    if not isinstance(repository, str) or not repository.startswith(("/", "file:")):
        return
    if repository_fault(repository, allow_file=True):
        return  # the command tells, with whatever else is wrong
    tenant = call.principal.tenant_id
    if await services.store.read(lambda reader: reader.project_by_repository(tenant, repository)):
        return
    try:
        await services.forge.probe(repository)
    except InvalidInput as error:
        fault = Violation(pointer, error.message)
        raise InvalidInput(error.message, reason=error.reason, violations=(fault,)) from None
