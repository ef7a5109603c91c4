"""Projects."""

from __future__ import annotations

from controlplane.api.convert.common import duration, enum_out, optional_seconds, timestamp
from controlplane.domain.project import CompleteOn, Project, ProjectSpec
from swarm.project.v1 import project_pb2 as pb


def spec_in(message: pb.ProjectSpec) -> ProjectSpec:
    """Unspecified `complete_on` means merged."""
    opened = message.complete_on == pb.CompleteOn.COMPLETE_ON_OPENED
    return ProjectSpec(
        name=message.name,
        repository=message.repository,
        default_branch=message.default_branch,
        agent=message.agent,
        workflow=message.workflow,
        test_command=message.test_command,
        max_concurrency=message.max_concurrency,
        complete_on=CompleteOn.OPENED if opened else CompleteOn.MERGED,
        stall_timeout_s=optional_seconds(message, "stall_timeout", "/spec"),
    )


def spec_out(spec: ProjectSpec) -> pb.ProjectSpec:
    return pb.ProjectSpec(
        name=spec.name,
        repository=spec.repository,
        default_branch=spec.default_branch,
        agent=spec.agent,
        workflow=spec.workflow,
        test_command=spec.test_command,
        max_concurrency=spec.max_concurrency,
        complete_on=enum_out(pb.CompleteOn, "COMPLETE_ON", spec.complete_on),
        stall_timeout=duration(spec.stall_timeout_s),
    )


def project_out(project: Project) -> pb.Project:
    return pb.Project(
        id=project.id,
        tenant_id=project.tenant_id,
        spec=spec_out(project.spec),
        created_at=timestamp(project.created_at),
    )
