"""What the use cases need of the outside, as protocols. Adapters implement them; nothing here knows how.

A unit of work is a plain function over a `Tx`: the store runs it in its single writer, groups it with others into one
commit, and hands back what it returned. A function that raises leaves nothing behind and fails alone.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol, TypeVar

from controlplane.domain.agent import Agent
from controlplane.domain.audit import AuditFilter, AuditHead, AuditRow
from controlplane.domain.claim import Claim
from controlplane.domain.cleanup import CleanupReport, CleanupRun
from controlplane.domain.epic import Children
from controlplane.domain.event import Effect, Event, NewEvent
from controlplane.domain.failure import Failure
from controlplane.domain.host import Host, HostState
from controlplane.domain.image import Image, Template
from controlplane.domain.lease import LeaseRef
from controlplane.domain.notification import Notification
from controlplane.domain.project import Project
from controlplane.domain.pullrequest import PullRequest, PullRequestState
from controlplane.domain.run import WorkflowRun
from controlplane.domain.tenant import Tenant
from controlplane.domain.ticket import Attempt, Resources, Ticket, TicketState
from controlplane.domain.usage import Usage, UsageRow
from controlplane.domain.user import User
from controlplane.domain.vm import Vm, VmSample
from controlplane.domain.workflow import Workflow, WorkflowStep
from controlplane.identity import AccountReader, AccountTx
from controlplane.notices import NoticeReader, NoticeTx

T = TypeVar("T")


class Clock(Protocol):
    """Wall clock in epoch seconds; the store's clock where leases are concerned."""

    def now(self) -> float: ...


@dataclass(frozen=True, slots=True)
class Page:
    """`token` is opaque and comes from an earlier answer; `size` 0 means the default of 100."""

    size: int = 0
    token: str = ""


class TicketOrder(StrEnum):
    KEY = "key"
    PRIORITY = "priority"
    CREATED_AT = "created_at"
    UPDATED_AT = "updated_at"


@dataclass(frozen=True, slots=True)
class TicketFilter:
    states: tuple[TicketState, ...] = ()
    project_id: str = ""
    parent_id: str = ""
    tag: str = ""
    dead_letter: bool = False  # only those
    assignee: str = ""
    query: str = ""  # part of the key, the title or the description
    order: TicketOrder = TicketOrder.KEY
    descending: bool = False


@dataclass(frozen=True, slots=True)
class FailureCount:
    """Attempts that failed alike. Names of causes and faults as in `domain.failure`."""

    cause: str
    fault: str
    host_id: str
    agent: str
    count: int


class Reader(AccountReader, NoticeReader, Protocol):
    """Reads of one consistent snapshot. Every look-up of a tenant's thing takes the tenant."""

    def ticket(self, tenant_id: str, ident: str) -> Ticket | None: ...  # by id or key
    def tickets(self, tenant_id: str, where: TicketFilter, page: Page) -> tuple[list[Ticket], str]: ...
    def tickets_by_id(self, ids: Sequence[str]) -> list[Ticket]: ...
    def children(self, parent_id: str) -> list[Ticket]: ...
    def child_states(self, parent_id: str) -> Children: ...
    def dependents(self, ids: Sequence[str]) -> list[Ticket]: ...
    def live_tickets(self) -> list[Ticket]: ...  # all tenants, every state that is not terminal
    def leased_tickets(self, host_id: str = "") -> list[Ticket]: ...  # assigned, running, waiting; of one host or all
    def leased_sizes(self, host_ids: Sequence[str]) -> list[tuple[str, Resources, int]]: ...  # how many of which size
    def ticket_counts(self, tenant_id: str = "") -> Mapping[TicketState, int]: ...  # of one tenant or all
    def attempt(self, attempt_id: str) -> Attempt | None: ...
    def attempts_by_id(self, ids: Sequence[str]) -> list[Attempt]: ...
    def attempts(self, ticket_id: str) -> list[Attempt]: ...
    def attempts_since(self, tenant_id: str, since: float) -> int: ...  # how many began
    def failures(self, ticket_id: str) -> list[Failure]: ...
    def failures_since(self, tenant_id: str, since: float) -> list[FailureCount]: ...
    def dead_letters(self, tenant_id: str) -> int: ...  # how many
    def newest_event(self, topic: str) -> int: ...  # its number before this unit of work; 0: none
    def events(self, topic: str, cursor: int, limit: int, types: Sequence[str] = ()) -> list[Event]: ...
    def tail(self, topic: str, limit: int, types: Sequence[str] = ()) -> list[Event]: ...
    def project(self, tenant_id: str, project_id: str) -> Project | None: ...
    def project_by_repository(self, tenant_id: str, repository: str) -> Project | None: ...
    def projects(self, tenant_id: str, page: Page) -> tuple[list[Project], str]: ...
    def projects_by_id(self, ids: Sequence[str]) -> list[Project]: ...
    def pull_request(self, tenant_id: str, ident: str) -> PullRequest | None: ...  # by id or ticket key
    def pull_request_of(self, ticket_id: str) -> PullRequest | None: ...
    def pull_requests(
        self, tenant_id: str, project_id: str, state: PullRequestState | None, page: Page
    ) -> tuple[list[PullRequest], str]: ...
    def host(self, ident: str) -> Host | None: ...  # by id or name
    def hosts_by_id(self, ids: Sequence[str]) -> list[Host]: ...
    def hosts(self, page: Page) -> tuple[list[Host], str]: ...
    def vm(self, vm_id: str, tenant_id: str | None = None) -> Vm | None: ...  # None: whosever it is
    def vms(
        self, host_id: str, *, include_stopped: bool, page: Page, tenant_id: str | None = None
    ) -> tuple[list[Vm], str]:
        """Of one host or all, and of one tenant or all; those booted by hand are the deployment's own."""
        ...

    def vm_counts(self) -> tuple[int, int]: ...  # VMs that have not stopped, and how many of them are unhealthy
    # What a tenant may use of the registry: its own, and what is everybody's; None: all of it.
    def agent(self, tenant_id: str | None, name: str, version: str = "") -> Agent | None: ...  # newest if none is named
    def agents(self, tenant_id: str | None) -> list[Agent]: ...
    def bundle(self, digest: str) -> bytes | None: ...
    def workflow(self, tenant_id: str | None, name: str, version: str = "") -> Workflow | None: ...  # as agents
    def workflows(self, tenant_id: str | None) -> list[Workflow]: ...
    def workflow_run(self, tenant_id: str, ident: str) -> WorkflowRun | None: ...
    def workflow_run_of(self, attempt_id: str) -> WorkflowRun | None: ...
    def workflow_runs(self, tenant_id: str, ticket_id: str, page: Page) -> tuple[list[WorkflowRun], str]: ...
    def setting(self, name: str) -> Any: ...  # JSON value or None
    def due_effects(self, now: float, limit: int, kind: str = "") -> list[Effect]: ...  # of one kind or all
    def outbox(self) -> tuple[int, int, str]: ...  # how many wait, how many of them failed before, the last error
    def replay(self, principal: str, key: str) -> tuple[str, bytes] | None: ...  # (request hash, answer)
    def audit(self, after: int, limit: int) -> list[AuditRow]: ...  # in the order of the chain
    def audit_row(self, seq: int) -> AuditRow | None: ...
    def audit_head(self) -> AuditHead | None: ...
    def audit_page(self, where: AuditFilter, page: Page) -> tuple[list[AuditRow], str]: ...  # newest first
    def link_position(self, host_id: str, boot_id: str) -> int: ...
    def finished_tickets(self, after: tuple[float, str], before: float, limit: int) -> list[Ticket]:
        """Those finished before `before`, in order of (finished_at, id), beginning behind `after`."""
        ...

    def first_event(self, topic: str, count: int, before: float) -> int:
        """Number of the last of the first `count` events of the topic that are older than `before`; 0: none is."""
        ...

    def cleanup_runs(self, host_id: str | None, per_host: int) -> list[CleanupRun]: ...  # newest first; None: all
    def tenants(self, page: Page) -> tuple[list[Tenant], str]: ...
    def users(self, tenant_id: str, page: Page) -> tuple[list[User], str]: ...
    def claim(self, attempt_id: str) -> Claim | None: ...
    def claim_by_key(self, principal: str, key: str) -> Claim | None: ...
    def notifications(self, user_id: str, page: Page, *, unread: bool) -> tuple[list[Notification], str]: ...
    def usage(self, tenant_id: str, since: float, until: float, limit: int) -> list[UsageRow]: ...  # empty: all tenants


class Tx(Reader, AccountTx, NoticeTx, Protocol):
    """Writes of one unit of work.

    After the commit the bus is told the topics of the events, and of rows that changed without one: `hosts`, `vms`,
    `outbox`, `settings`, `agents`, `projects`, `pull_requests`, `accounts`.
    """

    def next_ticket_number(self, tenant_id: str, count: int) -> int: ...  # first of `count` numbers
    def next_pull_request_number(self, project_id: str) -> int: ...
    def add_tickets(self, tickets: Sequence[Ticket]) -> None: ...
    def save_tickets(self, moves: Sequence[tuple[Ticket, Ticket]]) -> list[str]:
        """Compare-and-set by (id, state, fence) of the old; returns the ids that lost."""
        ...

    def remove_tickets(self, tickets: Sequence[Ticket]) -> None: ...  # with all that is theirs alone, events too
    def add_attempts(self, attempts: Sequence[Attempt]) -> None: ...
    def save_attempts(self, attempts: Sequence[Attempt]) -> None: ...
    def add_failures(self, failures: Sequence[Failure]) -> None: ...
    def add_events(self, events: Sequence[NewEvent], now: float) -> None: ...
    def add_effects(self, effects: Sequence[Effect], now: float) -> None: ...  # an existing key is left alone
    def event_bytes(self, topic: str) -> int: ...  # of the data of its events, as far as it was told of them
    def add_event_bytes(self, topic: str, more: int) -> None: ...
    def effect_done(self, key: str, now: float) -> None: ...
    def effect_failed(self, key: str, error: str, next_try: float) -> None: ...
    def effects_again(self, prefixes: Sequence[str], now: float) -> None: ...  # those whose keys begin so are due now
    def add_project(self, project: Project) -> None: ...
    def save_project(self, project: Project) -> None: ...
    def remove_project(self, project: Project) -> None: ...
    def add_pull_request(self, pull_request: PullRequest) -> None: ...
    def save_pull_request(self, pull_request: PullRequest) -> None: ...
    def save_host(self, host: Host) -> None: ...  # insert or update
    def set_host_state(self, host_id: str, state: HostState) -> None: ...
    def host_seen(self, host_id: str, now: float) -> None: ...  # no change that anybody is told of
    def save_vms(self, vms: Sequence[Vm]) -> None: ...  # insert or update
    def add_agent(self, agent: Agent, bundle: bytes) -> None: ...
    def add_workflow(self, workflow: Workflow) -> None: ...
    def save_workflow_runs(self, runs: Sequence[WorkflowRun]) -> None: ...  # insert or update
    def set_setting(self, name: str, value: Any) -> None: ...
    def remember(self, principal: str, key: str, request_hash: str, answer: bytes, now: float) -> None: ...
    def add_audit(
        self,
        action: str,
        principal: str,
        request_id: str,
        data: Mapping[str, Any],
        now: float,
        *,
        tenant_id: str = "",
        user_id: str = "",
    ) -> None:
        """Seals the row too. `tenant_id` is empty for what belongs to no tenant, such as hosts and restores."""
        ...

    def seal_audit(self) -> int: ...  # rows from before there were seals; how many
    def set_link_position(self, host_id: str, boot_id: str, seq: int) -> None: ...
    def forget_events(self, topics: Sequence[str], through: int | None = None) -> int:
        """Deletes the events of these topics, up to number `through`; the numbering goes on. Answers how many."""
        ...

    def forget_rows(self, before: float, limit: int) -> int:
        """Deletes effects done, VMs stopped and idempotent answers given before then, `limit` of each at most."""
        ...

    def add_cleanup_run(self, run: CleanupRun) -> None: ...  # older runs of the same host make room
    def add_claim(self, claim: Claim) -> None: ...
    def count_event_bytes(self, attempt_id: str, total: int) -> None: ...
    def add_usage(self, attempt_id: str, usage: Usage) -> None: ...  # to what the attempt used before


@dataclass(frozen=True, slots=True)
class Moved:
    """What one unit of work did to tickets: `tickets` is how they are now.

    `events` are those that it added to the topic of all tickets, where they are numbered from `after` + 1 to `upto`.
    """

    after: int
    upto: int
    tickets: tuple[Ticket, ...]
    events: tuple[NewEvent, ...] = ()


class Store(Protocol):
    """One database. `now()` is its clock."""

    async def open(self) -> None: ...
    async def close(self) -> None: ...
    def now(self) -> float: ...
    async def read(self, query: Callable[[Reader], T]) -> T: ...
    async def write(self, work: Callable[[Tx], T]) -> T: ...
    def watch(self, take: Callable[[Moved], None]) -> None:
        """Has `take` called after each commit that moved tickets, in order, before the bus is told of it.

        Saves reading back what was just written; truth stays the event table, for a number that is missing.
        """
        ...


class Subscription(Protocol):
    """An endless asynchronous iterator; each turn gives the topics that changed since the last."""

    def __aiter__(self) -> AsyncIterator[frozenset[str]]: ...
    async def __anext__(self) -> frozenset[str]: ...
    async def aclose(self) -> None: ...


class Bus(Protocol):
    """Wake-ups only: truth is the event table and a cursor. The store notifies after each commit."""

    def notify(self, topics: Sequence[str]) -> None: ...
    def subscribe(self, *topics: str) -> Subscription:
        """What is notified from now on; a topic may be a prefix that ends in `*`."""
        ...


@dataclass(frozen=True, slots=True)
class AssignedStep:
    """A step of a workflow with the agent that its name stands for now, and its whole input."""

    step: WorkflowStep
    agent: Agent
    input: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Work:
    """What runs a ticket: one agent, or the steps of a workflow. `image` is what its VM needs, never empty."""

    image: str
    agent: Agent | None = None
    steps: tuple[AssignedStep, ...] = ()

    @property
    def agents(self) -> tuple[Agent, ...]:
        """Each agent once, in the order in which they run."""
        found = (self.agent, *(each.agent for each in self.steps))
        return tuple({agent.digest: agent for agent in found if agent}.values())

    @property
    def external(self) -> bool:
        """Whether programs claim it, instead of a host running it."""
        return self.agent is not None and self.agent.external


@dataclass(frozen=True, slots=True)
class Assignment:
    """A committed lease on its way to a host."""

    ticket: Ticket
    attempt: Attempt
    project: Project | None
    work: Work
    dependencies: tuple[tuple[str, str, str], ...]  # (ticket key, ref, head)
    continue_from: str = ""


@dataclass(frozen=True, slots=True)
class CommandUpdate:
    """Progress or end of a command; `error_code` is a canonical code name."""

    fraction: float
    message: str
    done: bool
    error_code: str = ""
    error: str = ""
    vms: tuple[Vm, ...] = ()
    cleanup: CleanupReport | None = None


class Fleet(Protocol):
    """The hosts that are attached now."""

    def connected(self) -> frozenset[str]: ...
    def assign(self, assignments: Sequence[Assignment]) -> None: ...
    def revoke(self, host_id: str, attempt_id: str, ticket_id: str, fence: int, reason: str) -> None: ...
    def answer(self, host_id: str, ref: LeaseRef, number: int, text: str) -> None: ...
    def cordon(self, host_id: str, *, cordoned: bool) -> None: ...
    def command(self, host_id: str, verb: str, arguments: Mapping[str, Any]) -> AsyncIterator[CommandUpdate]:
        """Verbs: boot_vms, vm, build_image, bake_template, verify_template, cleanup. Unavailable when it is away.

        Arguments are the fields of the verb: count and image; vm_id and verb (pause, resume, terminate); name; image,
        vcpus and memory_mib; digest; none. A command that failed on the host is raised as the error of its code.
        """
        ...

    def console(self, host_id: str, vm_id: str, keys: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """Output of a VM's serial console, fed with `keys`. Ends with the VM, or when `keys` end."""
        ...

    def images(self, host_id: str = "") -> list[Image]: ...  # of one attached host, or of all
    def templates(self, host_id: str = "") -> list[Template]: ...
    def samples(self, host_id: str, vm_id: str) -> list[VmSample]: ...  # what that host reported last, oldest first


@dataclass(frozen=True, slots=True)
class MergeResult:
    """`commit` is empty when `conflicts` names paths."""

    commit: str
    conflicts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class DiffStat:
    additions: int
    deletions: int
    changed_files: int


@dataclass(frozen=True, slots=True)
class FileStat:
    """What a diff does to one file; lines of a binary file are not counted."""

    path: str
    old_path: str = ""
    additions: int = 0
    deletions: int = 0
    binary: bool = False


class Forge(Protocol):
    """Where pull requests live. Effects are idempotent: look up before create, refs moved with their expected old."""

    async def probe(self, repository: str) -> str: ...  # default branch; InvalidInput or Unavailable
    async def publish(self, project: Project, ticket_key: str, head: str) -> None: ...  # moves …/<key>/pr to head
    async def diff(self, project: Project, base: str, head: str, limit: int) -> tuple[bytes, bool]: ...
    async def stat(self, project: Project, base: str, head: str) -> DiffStat: ...
    async def files(self, project: Project, base: str, head: str) -> list[FileStat]: ...  # by path
    async def merge_base(self, project: Project, branch: str, head: str) -> str: ...
    async def remove_attempts(self, project: Project, ticket_key: str, head: str) -> tuple[str, ...]:
        """Removes the branches of the ticket's attempts, but never the last that holds `head`; answers their refs."""
        ...

    async def merge(self, project: Project, pull_request: PullRequest, message: str) -> MergeResult: ...


@dataclass(frozen=True, slots=True)
class Base:
    """Where an attempt starts. `merge_heads` conflict with it, in the paths `conflicts`."""

    commit: str
    default_branch: str
    conflicts: tuple[str, ...] = ()
    merge_heads: tuple[str, ...] = ()


class Workspaces(Protocol):
    """The repository of each claim: what its program clones from and pushes to. Errors are of the one tree."""

    async def prepare(self, assignment: Assignment) -> Base: ...  # safe to repeat
    async def head(self, attempt_id: str) -> str: ...  # what was pushed last; the base before that
    async def inspect(self, attempt_id: str, head: str) -> tuple[str, ...]:
        """What the scan found and does not refuse. FailedPrecondition lists what must go; the branch is set back then.

        FailedPrecondition too when `head` is not what was pushed.
        """
        ...

    async def publish(self, assignment: Assignment, head: str) -> None: ...  # to the attempt's ref upstream; repeatable
    async def discard(self, attempt_id: str) -> None: ...  # idempotent
    async def present(self) -> list[str]: ...  # attempts that have one
