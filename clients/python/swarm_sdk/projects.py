"""Projects: a repository and the defaults of its tickets."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from google.protobuf.field_mask_pb2 import FieldMask

from swarm.project.v1 import service_pb2 as pb
from swarm.project.v1.project_pb2 import Project, ProjectSpec
from swarm.project.v1.service_pb2_grpc import ProjectServiceStub
from swarm_sdk.paging import Paged
from swarm_sdk.transport import Transport


class Projects:
    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._stub = ProjectServiceStub(transport.channel)

    async def create(self, spec: ProjectSpec, *, key: str = "") -> Project:
        request = pb.CreateProjectRequest(spec=spec)
        return (await self._transport.change(self._stub.CreateProject, request, key=key)).project

    def list(self, *, limit: int = 0) -> Paged[Project]:
        async def page(token: str, size: int) -> tuple[Sequence[Project], str]:
            request = pb.ListProjectsRequest(page_size=size, page_token=token)
            answer = await self._transport.read(self._stub.ListProjects, request)
            return answer.projects, answer.next_page_token

        return Paged(page, limit)

    async def get(self, project_id: str) -> Project:
        return (await self._transport.read(self._stub.GetProject, pb.GetProjectRequest(id=project_id))).project

    async def update(self, project_id: str, spec: ProjectSpec, fields: Iterable[str], *, key: str = "") -> Project:
        """Changes the named fields of the spec."""
        request = pb.UpdateProjectRequest(id=project_id, spec=spec, update_mask=FieldMask(paths=fields))
        return (await self._transport.change(self._stub.UpdateProject, request, key=key)).project

    async def delete(self, project_id: str, *, key: str = "") -> None:
        """`FailedPreconditionError` while tickets of it are not over."""
        await self._transport.change(self._stub.DeleteProject, pb.DeleteProjectRequest(id=project_id), key=key)
