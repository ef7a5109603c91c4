"""The tables as they are now. What is queried has a column; the rest of a thing is compact JSON in text.

Times are epoch seconds. Models carry no database: statements are compiled without one and run by a session.
A change here needs a new file in `migrations/`; a test compares the two.
"""

from __future__ import annotations

from peewee import (
    SQL,
    AutoField,
    BigIntegerField,
    BlobField,
    BooleanField,
    CompositeKey,
    DoubleField,
    IntegerField,
    Model,
    TextField,
)

from controlplane.stores.account_tables import ACCOUNT_TABLES
from controlplane.stores.notice_tables import NOTICE_TABLES


class TicketTable(Model):
    id = TextField(primary_key=True)
    tenant_id = TextField()
    number = IntegerField()
    key = TextField()
    project_id = TextField(index=True)
    parent_id = TextField(index=True)
    spec = TextField()
    vcpus = IntegerField()
    memory_mib = IntegerField()
    disk_mib = IntegerField()
    state = TextField(index=True)
    state_reason = TextField()
    fence = BigIntegerField()
    attempts = IntegerField()
    host_id = TextField()
    attempt_id = TextField()
    lease_expires_at = DoubleField(null=True)
    not_before = DoubleField()
    dead_letter = BooleanField()
    causes = TextField()
    pull_request_id = TextField()
    head = TextField()
    question = TextField()
    last_log = TextField()
    created_at = DoubleField()
    updated_at = DoubleField()
    finished_at = DoubleField(null=True)

    class Meta:
        table_name = "ticket"
        indexes = ((("tenant_id", "number"), True), (("tenant_id", "key"), True))


# Costs nothing where nothing is dead, which is nearly everywhere.
TicketTable.add_index(
    TicketTable.index(TicketTable.tenant_id, TicketTable.number, where=SQL("dead_letter"), name="ticket_dead_letter")
)
# Of the leased only: what a host holds is looked up whenever it comes back.
TicketTable.add_index(TicketTable.index(TicketTable.host_id, where=SQL("host_id > ''"), name="ticket_leased"))


class DependencyTable(Model):
    ticket_id = TextField()
    depends_on_id = TextField(index=True)

    class Meta:
        table_name = "ticket_dependency"
        primary_key = CompositeKey("ticket_id", "depends_on_id")


class TagTable(Model):
    ticket_id = TextField()
    tag = TextField(index=True)

    class Meta:
        table_name = "ticket_tag"
        primary_key = CompositeKey("ticket_id", "tag")


class AttemptTable(Model):
    id = TextField(primary_key=True)
    ticket_id = TextField(index=True)
    number = IntegerField()
    fence = BigIntegerField()
    host_id = TextField()
    state = TextField()
    assigned_at = DoubleField()
    vm_id = TextField()
    cause = TextField()
    reason = TextField()
    branch = TextField()
    base = TextField()
    head = TextField()
    boot = TextField()
    started_at = DoubleField(null=True)
    finished_at = DoubleField(null=True)
    exit_code = IntegerField()

    class Meta:
        table_name = "attempt"


class FailureTable(Model):
    """Attempts that failed; an attempt that succeeds never costs a row here."""

    attempt_id = TextField(primary_key=True)
    ticket_id = TextField(index=True)
    cause = TextField()
    fault = TextField()
    host_id = TextField()
    agent = TextField()
    at = DoubleField(index=True)
    delay_s = DoubleField(null=True)

    class Meta:
        table_name = "failure"


class TopicTable(Model):
    """The newest sequence number of each topic."""

    name = TextField(primary_key=True)
    seq = BigIntegerField()

    class Meta:
        table_name = "topic"


class EventTable(Model):
    topic = TextField()
    seq = BigIntegerField()
    type = TextField()
    time = DoubleField()
    data = TextField()

    class Meta:
        table_name = "event"
        primary_key = CompositeKey("topic", "seq")


class EffectTable(Model):
    """The outbox. `next_try` is empty once it is done."""

    key = TextField(primary_key=True)
    kind = TextField()
    payload = TextField()
    tries = IntegerField()
    error = TextField()
    next_try = DoubleField(null=True)
    created_at = DoubleField()
    done_at = DoubleField(null=True)

    class Meta:
        table_name = "effect"


EffectTable.add_index(
    EffectTable.index(
        EffectTable.kind,
        EffectTable.next_try,
        EffectTable.key,
        where=SQL("next_try IS NOT NULL"),
        name="effect_due",
    )
)


class ProjectTable(Model):
    id = TextField(primary_key=True)
    tenant_id = TextField()
    repository = TextField()
    spec = TextField()
    created_at = DoubleField()

    class Meta:
        table_name = "project"
        indexes = ((("tenant_id", "repository"), False),)


class PullRequestTable(Model):
    id = TextField(primary_key=True)
    tenant_id = TextField(index=True)
    number = IntegerField()
    project_id = TextField()
    ticket_id = TextField(unique=True)
    ticket_key = TextField()
    title = TextField()
    body = TextField()
    state = TextField()
    base_branch = TextField()
    head_branch = TextField()
    base = TextField()
    head = TextField()
    created_at = DoubleField()
    merge_commit = TextField()
    additions = IntegerField()
    deletions = IntegerField()
    changed_files = IntegerField()
    url = TextField()
    merged_at = DoubleField(null=True)

    class Meta:
        table_name = "pull_request"
        indexes = ((("project_id", "number"), True),)


class HostTable(Model):
    id = TextField(primary_key=True)
    name = TextField(unique=True)
    state = TextField()
    facts = TextField()
    last_seen_at = DoubleField()
    joined_at = DoubleField()

    class Meta:
        table_name = "host"


class VmTable(Model):
    """The tenant is that of the ticket that it was made for; one that was booted by hand is the deployment's own."""

    id = TextField(primary_key=True)
    host_id = TextField(index=True)
    state = TextField()
    facts = TextField()
    stopped_at = DoubleField(null=True, index=True)
    tenant_id = TextField(default="default")

    class Meta:
        table_name = "vm"


class AgentTable(Model):
    """A name is one tenant's, or with an empty tenant everybody's; so are those of workflows."""

    name = TextField()
    version = TextField()
    digest = TextField()
    built_in = BooleanField()
    published_at = DoubleField()
    manifest = TextField()
    tenant_id = TextField(default="")

    class Meta:
        table_name = "agent"
        primary_key = CompositeKey("name", "version")


class BundleTable(Model):
    digest = TextField(primary_key=True)
    content = BlobField()

    class Meta:
        table_name = "bundle"


class SettingTable(Model):
    name = TextField(primary_key=True)
    value = TextField()

    class Meta:
        table_name = "setting"


class CounterTable(Model):
    """Numbers given out once: ticket keys per tenant, pull requests per project."""

    name = TextField(primary_key=True)
    value = IntegerField()

    class Meta:
        table_name = "counter"


class AnswerTable(Model):
    """What an idempotency key was answered with."""

    principal = TextField()
    key = TextField()
    request_hash = TextField()
    answer = BlobField()
    created_at = DoubleField(index=True)

    class Meta:
        table_name = "answer"
        primary_key = CompositeKey("principal", "key")


class AuditTable(Model):
    seq = AutoField()
    time = DoubleField()
    action = TextField()
    principal = TextField()
    request_id = TextField()
    data = TextField()
    tenant_id = TextField()
    user_id = TextField()
    key = TextField()
    mac = TextField()

    class Meta:
        table_name = "audit"
        indexes = ((("tenant_id", "seq"), False), (("request_id",), False))


class LinkTable(Model):
    """How far the messages of a host were taken in, under its present boot id."""

    host_id = TextField(primary_key=True)
    boot_id = TextField()
    seq = BigIntegerField()

    class Meta:
        table_name = "link"


class CleanupRunTable(Model):
    """The last cleanups of each host, and with an empty id of the control plane."""

    id = AutoField()
    host_id = TextField(index=True)
    started_at = DoubleField()
    run = TextField()

    class Meta:
        table_name = "cleanup_run"


class WorkflowTable(Model):
    name = TextField()
    version = TextField()
    digest = TextField()
    built_in = BooleanField()
    published_at = DoubleField()
    manifest = TextField()
    tenant_id = TextField(default="")

    class Meta:
        table_name = "workflow"
        primary_key = CompositeKey("name", "version")


class WorkflowRunTable(Model):
    id = TextField(primary_key=True)
    tenant_id = TextField(index=True)
    ticket_id = TextField(index=True)
    attempt_id = TextField(unique=True)
    workflow = TextField()
    state = TextField()
    started_at = DoubleField()
    reason = TextField()
    finished_at = DoubleField(null=True)

    class Meta:
        table_name = "workflow_run"


class StepExecutionTable(Model):
    """A step of a run; `position` counts from 0 in the order in which they run."""

    run_id = TextField()
    position = IntegerField()
    name = TextField()
    agent = TextField()
    state = TextField()
    started_at = DoubleField(null=True)
    finished_at = DoubleField(null=True)
    exit_code = IntegerField()
    summary = TextField()
    outputs = TextField()

    class Meta:
        table_name = "step_execution"
        primary_key = CompositeKey("run_id", "position")


class ClaimTable(Model):
    """Leases of external agents, one per attempt; the key that a claim was made under is null without one."""

    attempt_id = TextField(primary_key=True)
    ticket_id = TextField()
    host_id = TextField()
    worker = TextField()
    principal = TextField()
    lease_s = DoubleField()
    created_at = DoubleField()
    request_key = TextField(null=True)
    request_hash = TextField()
    event_bytes = IntegerField()

    class Meta:
        table_name = "claim"
        indexes = ((("principal", "request_key"), True),)


TABLES: tuple[type[Model], ...] = (
    TicketTable,
    DependencyTable,
    TagTable,
    AttemptTable,
    TopicTable,
    EventTable,
    EffectTable,
    ProjectTable,
    PullRequestTable,
    HostTable,
    VmTable,
    AgentTable,
    BundleTable,
    SettingTable,
    CounterTable,
    AnswerTable,
    AuditTable,
    LinkTable,
    FailureTable,
    CleanupRunTable,
    WorkflowTable,
    WorkflowRunTable,
    StepExecutionTable,
    ClaimTable,
    *ACCOUNT_TABLES,
    *NOTICE_TABLES,
)
