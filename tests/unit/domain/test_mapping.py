from __future__ import annotations

from controlplane.domain.mapping import Rule, Runner, runner_of
from controlplane.domain.ticket import TicketSpec, TicketType

BUGS = Rule(Runner(workflow="bugfix"), type=TicketType.BUG, tags=("api", "v2"))
OURS = Rule(Runner(agent="mine"), project_id="pj_1")
ALL = Rule(Runner(workflow="feature"))
ECHO = Runner(agent="echo")


def test_the_first_rule_that_fits_counts() -> None:
    bug = TicketSpec("x", TicketType.BUG, tags=("v2", "more", "api"), project_id="pj_1")
    assert runner_of(bug, (BUGS, OURS, ALL), ECHO) == BUGS.runner
    assert runner_of(bug, (OURS, BUGS), ECHO) == OURS.runner


def test_every_condition_has_to_hold() -> None:
    for spec in (TicketSpec("x", TicketType.BUG, tags=("api",)), TicketSpec("x", tags=("api", "v2"))):
        assert runner_of(spec, (BUGS, OURS), ECHO) == ECHO
    assert runner_of(TicketSpec("x"), (BUGS, OURS, ALL), ECHO) == ALL.runner


def test_what_a_ticket_names_wins() -> None:
    assert runner_of(TicketSpec("x", agent="shell"), (ALL,), ECHO) == Runner(agent="shell")
    assert runner_of(TicketSpec("x", workflow="script"), (ALL,), ECHO) == Runner(workflow="script")
