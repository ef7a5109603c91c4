"""A request for every method, and who is to get what for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message
from google.protobuf.struct_pb2 import Struct

from swarm.admin.v1 import admin_pb2
from swarm.admin.v1 import service_pb2 as admin
from swarm.agent.v1 import service_pb2 as agent
from swarm.audit.v1 import service_pb2 as audit
from swarm.auth.v1 import auth_pb2
from swarm.auth.v1 import service_pb2 as auth
from swarm.coordinator.v1 import service_pb2 as coordinator
from swarm.fleet.v1 import service_pb2 as fleet
from swarm.key.v1 import key_pb2
from swarm.key.v1 import service_pb2 as key
from swarm.notification.v1 import notification_pb2
from swarm.notification.v1 import service_pb2 as notification
from swarm.options.v1.options_pb2 import Role
from swarm.project.v1 import service_pb2 as project
from swarm.project.v1.project_pb2 import ProjectSpec
from swarm.pullrequest.v1 import service_pb2 as pullrequest
from swarm.registry.v1 import registry_pb2
from swarm.registry.v1 import service_pb2 as registry
from swarm.ticket.v1 import bulk_pb2, claim_pb2, diff_pb2
from swarm.ticket.v1 import service_pb2 as ticket
from swarm.ticket.v1.ticket_pb2 import TicketSpec
from swarm.vm.v1 import service_pb2 as vm
from tests.integration.network.test_replies_lost import bundle, card, manifest

MARK = "crimson"  # in everything that is the red tenant's


class Kind(StrEnum):
    OWN = "own"  # about one thing: not there for another tenant
    LIST = "list"  # the same for everybody, about what is theirs
    NEW = "new"  # makes something of the caller's own
    NAME = "name"  # the same, under a name that only one tenant can have
    SHARED = "shared"  # about what all tenants use
    HOME = "home"  # changes that: for the tenant that runs the deployment
    PERSONAL = "personal"  # about one thing of one user: not there for anybody else
    SELF = "self"  # about the account that asks, whoever it is
    OPEN = "open"  # for who has no credential yet


@dataclass(frozen=True)
class Row:
    kind: Kind
    request: Message
    owner: str = "OK"


def own(request: Message, owner: str = "OK") -> Row:
    return Row(Kind.OWN, request, owner)


def listed(request: Message) -> Row:
    return Row(Kind.LIST, request)


def new(request: Message) -> Row:
    return Row(Kind.NEW, request)


def named(request: Message) -> Row:
    return Row(Kind.NAME, request, "ALREADY_EXISTS")


def shared(request: Message) -> Row:
    return Row(Kind.SHARED, request)


def home(request: Message) -> Row:
    return Row(Kind.HOME, request)


def personal(request: Message) -> Row:
    return Row(Kind.PERSONAL, request)


def self(request: Message, owner: str = "OK") -> Row:
    return Row(Kind.SELF, request, owner)


def unlocked(request: Message, answer: str = "UNAUTHENTICATED") -> Row:
    return Row(Kind.OPEN, request, answer)


def struct(**fields: Any) -> Struct:
    made = Struct()
    made.update(fields)
    return made


MASK = FieldMask(paths=["priority"])
ROWS: Mapping[str, Row] = {
    "admin.v1.AdminService.CreateUser": named(
        admin.CreateUserRequest(spec=admin_pb2.UserSpec(email="n@example.org", name="n", role=Role.ROLE_VIEWER))
    ),
    "admin.v1.AdminService.ListUsers": listed(admin.ListUsersRequest()),
    "admin.v1.AdminService.GetUser": own(admin.GetUserRequest(id="us_rita")),
    "admin.v1.AdminService.UpdateUser": own(
        admin.UpdateUserRequest(
            id="us_rita", spec=admin_pb2.UserSpec(name="Rita"), update_mask=FieldMask(paths=["name"])
        )
    ),
    "admin.v1.AdminService.ResetUser": own(admin.ResetUserRequest(id="us_rita")),
    "admin.v1.AdminService.CreateTenant": home(
        admin.CreateTenantRequest(id="green", spec=admin_pb2.TenantSpec(name="Green"))
    ),
    "admin.v1.AdminService.ListTenants": listed(admin.ListTenantsRequest()),
    "admin.v1.AdminService.GetTenant": own(admin.GetTenantRequest(id="default")),
    "admin.v1.AdminService.UpdateTenant": own(
        admin.UpdateTenantRequest(
            id="default", spec=admin_pb2.TenantSpec(name=MARK), update_mask=FieldMask(paths=["name"])
        )
    ),
    "audit.v1.AuditService.ListAuditLogs": listed(audit.ListAuditLogsRequest()),
    "audit.v1.AuditService.ExportAuditLogs": listed(audit.ExportAuditLogsRequest()),
    "audit.v1.AuditService.VerifyAuditLogs": shared(audit.VerifyAuditLogsRequest()),
    "auth.v1.AuthService.Login": unlocked(auth.LoginRequest(email="ruth@example.org", password="wrong")),
    "auth.v1.AuthService.CompleteLogin": unlocked(auth.CompleteLoginRequest(challenge="x", code="000000")),
    "auth.v1.AuthService.Refresh": unlocked(auth.RefreshRequest(refresh_token="x")),
    "auth.v1.AuthService.Setup": unlocked(
        auth.SetupRequest(token="x", email="e@example.org", name="Eve", password="correct horse battery")
    ),
    "auth.v1.AuthService.ForgotPassword": unlocked(
        auth.ForgotPasswordRequest(email="ruth@example.org"), "FAILED_PRECONDITION"
    ),
    "auth.v1.AuthService.ResetPassword": unlocked(
        auth.ResetPasswordRequest(token="x", new_password="correct horse battery")
    ),
    "auth.v1.AuthService.StartGithub": unlocked(auth.StartGithubRequest(), "FAILED_PRECONDITION"),
    "auth.v1.AuthService.FinishGithub": unlocked(auth.FinishGithubRequest(code="x"), "FAILED_PRECONDITION"),
    "auth.v1.AuthService.Logout": self(auth.LogoutRequest()),
    "auth.v1.AuthService.GetMe": self(auth.GetMeRequest()),
    "auth.v1.AuthService.UpdateMe": self(
        auth.UpdateMeRequest(profile=auth_pb2.Profile(name="Me"), update_mask=FieldMask(paths=["name"]))
    ),
    "auth.v1.AuthService.ChangePassword": self(auth.ChangePasswordRequest(new_password="correct horse battery")),
    "auth.v1.AuthService.ListLogins": self(auth.ListLoginsRequest()),
    "auth.v1.AuthService.RevokeLogin": personal(auth.RevokeLoginRequest(id="lg_ruth")),
    "auth.v1.AuthService.RevokeOtherLogins": self(auth.RevokeOtherLoginsRequest()),
    "auth.v1.AuthService.EnrollTotp": self(auth.EnrollTotpRequest()),
    "auth.v1.AuthService.ConfirmTotp": self(auth.ConfirmTotpRequest(code="000000"), "FAILED_PRECONDITION"),
    "auth.v1.AuthService.DisableTotp": self(auth.DisableTotpRequest(code="000000"), "FAILED_PRECONDITION"),
    "auth.v1.AuthService.CreateWsTicket": self(auth.CreateWsTicketRequest()),
    "admin.v1.AdminService.GetConfig": home(admin.GetConfigRequest()),
    "admin.v1.AdminService.UpdateConfig": Row(Kind.HOME, admin.UpdateConfigRequest(), "INVALID_ARGUMENT"),
    "admin.v1.AdminService.GetUsage": shared(admin.GetUsageRequest()),
    "admin.v1.AdminService.GetHealth": home(admin.GetHealthRequest()),
    "auth.v1.AuthService.UploadAvatar": self(auth.UploadAvatarRequest(image=b"no image"), "INVALID_ARGUMENT"),
    "auth.v1.AuthService.DeleteAvatar": self(auth.DeleteAvatarRequest()),
    "auth.v1.AuthService.GetAvatar": own(auth.GetAvatarRequest(user_id="us_ruth")),
    "notification.v1.NotificationService.GetPreferences": self(notification.GetPreferencesRequest()),
    "notification.v1.NotificationService.UpdatePreferences": self(
        notification.UpdatePreferencesRequest(preferences=notification_pb2.Preferences())
    ),
    "notification.v1.NotificationService.ListNotifications": self(notification.ListNotificationsRequest()),
    "notification.v1.NotificationService.MarkRead": personal(notification.MarkReadRequest(id="nt_ruth")),
    "notification.v1.NotificationService.MarkAllRead": self(notification.MarkAllReadRequest()),
    "agent.v1.AgentService.ListLiveAgents": listed(agent.ListLiveAgentsRequest()),
    "agent.v1.AgentService.GetLiveAgent": own(agent.GetLiveAgentRequest(id="at_tk_4_1")),
    "agent.v1.AgentService.ListAgentLogs": own(agent.ListAgentLogsRequest(id="at_tk_4_1")),
    "agent.v1.AgentService.PauseAgent": own(agent.PauseAgentRequest(id="at_tk_4_1")),
    "agent.v1.AgentService.ResumeAgent": own(agent.ResumeAgentRequest(id="tk_4")),
    "agent.v1.AgentService.TerminateAgent": own(agent.TerminateAgentRequest(id="TKT-004")),
    "agent.v1.AgentService.WatchLiveAgents": listed(agent.WatchLiveAgentsRequest()),
    "coordinator.v1.CoordinatorService.GetStatus": listed(coordinator.GetStatusRequest()),
    "coordinator.v1.CoordinatorService.GetFailures": listed(coordinator.GetFailuresRequest()),
    "coordinator.v1.CoordinatorService.GetCircuit": shared(coordinator.GetCircuitRequest()),
    "coordinator.v1.CoordinatorService.GetCleanupStatus": shared(coordinator.GetCleanupStatusRequest()),
    "coordinator.v1.CoordinatorService.Start": home(coordinator.StartRequest()),
    "coordinator.v1.CoordinatorService.Stop": home(coordinator.StopRequest()),
    "coordinator.v1.CoordinatorService.Cleanup": home(coordinator.CleanupRequest()),
    "coordinator.v1.CoordinatorService.Backup": home(coordinator.BackupRequest()),
    "fleet.v1.FleetService.GetSwarmStatus": listed(fleet.GetSwarmStatusRequest()),
    "fleet.v1.FleetService.ListHosts": shared(fleet.ListHostsRequest()),
    "fleet.v1.FleetService.GetHost": shared(fleet.GetHostRequest(id="hs_1")),
    "fleet.v1.FleetService.CordonHost": home(fleet.CordonHostRequest(id="hs_1")),
    "fleet.v1.FleetService.UncordonHost": home(fleet.UncordonHostRequest(id="hs_1")),
    "fleet.v1.FleetService.DrainHost": home(fleet.DrainHostRequest(id="hs_1")),
    "fleet.v1.FleetService.ListImages": shared(fleet.ListImagesRequest()),
    "fleet.v1.FleetService.BuildImage": home(fleet.BuildImageRequest()),
    "fleet.v1.FleetService.ListTemplates": shared(fleet.ListTemplatesRequest()),
    "fleet.v1.FleetService.BakeTemplate": home(fleet.BakeTemplateRequest()),
    "fleet.v1.FleetService.VerifyTemplate": home(fleet.VerifyTemplateRequest(digest="all")),
    "key.v1.KeyService.CreateKey": self(key.CreateKeyRequest(spec=key_pb2.KeySpec(name="new", scopes=["read"]))),
    "key.v1.KeyService.ListKeys": self(key.ListKeysRequest()),
    "key.v1.KeyService.RevokeKey": personal(key.RevokeKeyRequest(id="ak_ruth")),
    "project.v1.ProjectService.CreateProject": new(project.CreateProjectRequest(spec=ProjectSpec(name="new"))),
    "project.v1.ProjectService.ListProjects": listed(project.ListProjectsRequest()),
    "project.v1.ProjectService.GetProject": own(project.GetProjectRequest(id="pj_1")),
    "project.v1.ProjectService.UpdateProject": own(
        project.UpdateProjectRequest(id="pj_1", spec=ProjectSpec(name=MARK), update_mask=FieldMask(paths=["name"]))
    ),
    "project.v1.ProjectService.DeleteProject": own(project.DeleteProjectRequest(id="pj_2")),
    "pullrequest.v1.PullRequestService.ListPullRequests": listed(pullrequest.ListPullRequestsRequest()),
    "pullrequest.v1.PullRequestService.GetPullRequest": own(pullrequest.GetPullRequestRequest(id="pr_5")),
    "pullrequest.v1.PullRequestService.GetPullRequestDiff": own(pullrequest.GetPullRequestDiffRequest(id="TKT-005")),
    "pullrequest.v1.PullRequestService.MergePullRequest": own(pullrequest.MergePullRequestRequest(id="pr_5")),
    "pullrequest.v1.PullRequestService.ClosePullRequest": own(pullrequest.ClosePullRequestRequest(id="TKT-005")),
    "registry.v1.RegistryService.ListAgents": listed(registry.ListAgentsRequest()),
    "registry.v1.RegistryService.GetAgent": own(registry.GetAgentRequest(name=MARK)),
    "registry.v1.RegistryService.PublishAgent": named(registry.PublishAgentRequest(bundle=bundle())),
    "registry.v1.RegistryService.ListWorkflows": listed(registry.ListWorkflowsRequest()),
    "registry.v1.RegistryService.GetWorkflow": own(registry.GetWorkflowRequest(name=MARK)),
    "registry.v1.RegistryService.PublishWorkflow": named(registry.PublishWorkflowRequest(manifest=manifest())),
    "registry.v1.RegistryService.ListWorkflowRuns": listed(registry.ListWorkflowRunsRequest()),
    "registry.v1.RegistryService.GetWorkflowRun": own(registry.GetWorkflowRunRequest(id="wr_1")),
    "registry.v1.RegistryService.GetMapping": listed(registry.GetMappingRequest()),
    "registry.v1.RegistryService.SetMapping": new(registry.SetMappingRequest(mapping=registry_pb2.Mapping())),
    "ticket.v1.TicketService.CreateTicket": new(ticket.CreateTicketRequest(spec=TicketSpec(title="new"))),
    "ticket.v1.TicketService.CreateTickets": new(ticket.CreateTicketsRequest(specs=[TicketSpec(title="new")])),
    "ticket.v1.TicketService.ImportSpec": new(ticket.ImportSpecRequest(card=card())),
    "ticket.v1.TicketService.ListTickets": listed(ticket.ListTicketsRequest()),
    "ticket.v1.TicketService.GetTicket": own(ticket.GetTicketRequest(id="tk_1")),
    "ticket.v1.TicketService.UpdateTicket": own(
        ticket.UpdateTicketRequest(id="TKT-001", spec=TicketSpec(priority=1), update_mask=MASK)
    ),
    "ticket.v1.TicketService.DeleteTicket": own(ticket.DeleteTicketRequest(id="tk_1")),
    "ticket.v1.TicketService.BulkUpdateTickets": listed(
        bulk_pb2.BulkUpdateTicketsRequest(ids=["tk_1"], action=bulk_pb2.BULK_ACTION_ASSIGN, assignee="eve")
    ),
    "ticket.v1.TicketService.ReleaseTicket": own(ticket.ReleaseTicketRequest(id="tk_1")),
    "ticket.v1.TicketService.RetryTicket": own(ticket.RetryTicketRequest(id="tk_2")),
    "ticket.v1.TicketService.CancelTicket": own(ticket.CancelTicketRequest(id="tk_1")),
    "ticket.v1.TicketService.AnswerQuestion": own(ticket.AnswerQuestionRequest(id="tk_3", answer="this")),
    "ticket.v1.TicketService.ClaimTicket": listed(claim_pb2.ClaimTicketRequest()),
    "ticket.v1.TicketService.HeartbeatTicket": own(
        claim_pb2.HeartbeatTicketRequest(id="tk_4", fence=1), owner="FAILED_PRECONDITION"
    ),
    "ticket.v1.TicketService.CompleteTicket": own(
        claim_pb2.CompleteTicketRequest(id="tk_4", fence=1, outcome=claim_pb2.CLAIM_OUTCOME_SUCCEEDED),
        owner="FAILED_PRECONDITION",
    ),
    "ticket.v1.TicketService.ListAttempts": own(ticket.ListAttemptsRequest(id="tk_4")),
    "ticket.v1.TicketService.ListEvents": own(ticket.ListEventsRequest(id="tk_4")),
    "ticket.v1.TicketService.GetTicketDiff": own(diff_pb2.GetTicketDiffRequest(id="tk_5")),
    "ticket.v1.TicketService.WatchTicket": own(ticket.WatchTicketRequest(id="tk_1")),
    "ticket.v1.TicketService.WatchTickets": listed(ticket.WatchTicketsRequest(cursor=0)),
    "vm.v1.VmService.WatchVm": own(vm.WatchVmRequest(id="vm_1")),
    "vm.v1.VmService.ListVms": listed(vm.ListVmsRequest()),
    "vm.v1.VmService.GetVm": own(vm.GetVmRequest(id="vm_1")),
    "vm.v1.VmService.BootVms": home(vm.BootVmsRequest(count=1)),
    "vm.v1.VmService.PauseVm": own(vm.PauseVmRequest(id="vm_1")),
    "vm.v1.VmService.ResumeVm": own(vm.ResumeVmRequest(id="vm_1")),
    "vm.v1.VmService.DeleteVm": own(vm.DeleteVmRequest(id="vm_2")),
    "vm.v1.VmService.GetVmStats": own(vm.GetVmStatsRequest(id="vm_1")),
    "vm.v1.VmService.GetVmHealth": own(vm.GetVmHealthRequest(id="vm_2")),
    "vm.v1.VmService.ListUnhealthyVms": listed(vm.ListUnhealthyVmsRequest()),
    "vm.v1.VmService.CleanupVms": home(vm.CleanupVmsRequest()),
    "vm.v1.VmService.Console": own(vm.ConsoleRequest(vm_id="vm_1", data=b"x")),
}
