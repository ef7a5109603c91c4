"""ProjectService."""

from __future__ import annotations

from controlplane.api.bindings import Bindings, Command, Query
from controlplane.api.convert.common import page_in
from controlplane.api.convert.mask import masked_fields
from controlplane.api.convert.project import project_out, spec_in
from controlplane.domain.call import Call
from controlplane.ports import Reader, Tx
from controlplane.usecases import projects
from controlplane.usecases.repositories import expect_repository
from controlplane.usecases.services import Services
from swarm.project.v1 import service_pb2 as pb

SERVICE = "swarm.project.v1.ProjectService"


def bindings(*, allow_file: bool) -> Bindings:
    """`allow_file`: whether a project's repository may be on this machine."""

    def create(tx: Tx, call: Call, request: pb.CreateProjectRequest) -> pb.CreateProjectResponse:
        project = projects.create_project(tx, call, spec_in(request.spec), allow_file=allow_file)
        return pb.CreateProjectResponse(project=project_out(project))

    async def readable(services: Services, call: Call, request: pb.CreateProjectRequest) -> None:
        if allow_file:
            await expect_repository(services, call, request.spec.repository, "/spec/repository")

    return {
        f"{SERVICE}.CreateProject": Command(create, readable),
        f"{SERVICE}.ListProjects": Query(list_projects),
        f"{SERVICE}.GetProject": Query(get),
        f"{SERVICE}.UpdateProject": Command(update),
        f"{SERVICE}.DeleteProject": Command(delete),
    }


def list_projects(reader: Reader, call: Call, request: pb.ListProjectsRequest) -> pb.ListProjectsResponse:
    found, token = projects.list_projects(reader, call, page_in(request))
    return pb.ListProjectsResponse(projects=[project_out(project) for project in found], next_page_token=token)


def get(reader: Reader, call: Call, request: pb.GetProjectRequest) -> pb.GetProjectResponse:
    return pb.GetProjectResponse(project=project_out(projects.get_project(reader, call, request.id)))


def update(tx: Tx, call: Call, request: pb.UpdateProjectRequest) -> pb.UpdateProjectResponse:
    named = masked_fields(request.update_mask, request.spec)
    fields = ["stall_timeout_s" if name == "stall_timeout" else name for name in named]
    project = projects.update_project(tx, call, request.id, spec_in(request.spec), fields)
    return pb.UpdateProjectResponse(project=project_out(project))


def delete(tx: Tx, call: Call, request: pb.DeleteProjectRequest) -> pb.DeleteProjectResponse:
    projects.delete_project(tx, call, request.id)
    return pb.DeleteProjectResponse()
