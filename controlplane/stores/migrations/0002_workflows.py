"""Workflows, their runs and what became of each step."""

from __future__ import annotations

from peewee import BooleanField, CompositeKey, Database, DoubleField, IntegerField, Model, TextField


class WorkflowTable(Model):
    name = TextField()
    version = TextField()
    digest = TextField()
    built_in = BooleanField()
    published_at = DoubleField()
    manifest = TextField()

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


TABLES: tuple[type[Model], ...] = (WorkflowTable, WorkflowRunTable, StepExecutionTable)


def up(_migrator: object, database: Database) -> None:
    with database.bind_ctx(TABLES):
        database.create_tables(TABLES)
