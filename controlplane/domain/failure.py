"""Why attempts fail: one row per cause, with whose fault it is, what follows, and words for people."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Fault(StrEnum):
    """Whose fault an attempt's end was; each is counted apart from the others."""

    TICKET = "ticket"
    HOST = "host"
    UPSTREAM = "upstream"
    NOBODY = "nobody"


class Strategy(StrEnum):
    """What follows. `retry.LIMITS` says how often."""

    RETRY = "retry"  # after the retry delays
    ELSEWHERE = "elsewhere"  # after the same delays, on another host if one fits
    WAIT = "wait"  # after longer and longer waits
    MOVE = "move"  # elsewhere too, the first time at once: its lease has waited already
    AGAIN = "again"  # at once
    PARK = "park"  # failed until a person sets it going; no dead letter
    NEVER = "never"  # a dead letter at once


@dataclass(frozen=True, slots=True)
class Cause:
    """`meaning` and `advice` are a sentence each."""

    name: str
    fault: Fault
    strategy: Strategy
    meaning: str
    advice: str

    @property
    def explanation(self) -> str:
        """For people."""
        return f"{self.meaning} {self.advice}"

    @property
    def is_loss(self) -> bool:
        """Whether the attempt was taken from its agent, which itself did nothing wrong."""
        return self.leaves or self.strategy is Strategy.AGAIN

    @property
    def leaves(self) -> bool:
        """Whether the next attempt keeps away from the host of this one."""
        return self.strategy in {Strategy.ELSEWHERE, Strategy.MOVE}


def _ticket(name: str, meaning: str, advice: str, strategy: Strategy = Strategy.RETRY) -> Cause:
    return Cause(name, Fault.TICKET, strategy, meaning, advice)


def _host(name: str, meaning: str, advice: str, strategy: Strategy = Strategy.ELSEWHERE) -> Cause:
    return Cause(name, Fault.HOST, strategy, meaning, advice)


def _upstream(name: str, meaning: str, advice: str) -> Cause:
    return Cause(name, Fault.UPSTREAM, Strategy.WAIT, meaning, advice)


_CAUSES: Final = (
    _ticket(
        "agent_crashed",
        "The agent ended with an error or was killed.",
        "Read the end of its log; fix the input or the agent.",
    ),
    _ticket(
        "agent_gave_up",
        "The agent says that it cannot do this.",
        "Its reason says why; change the ticket, then requeue it.",
        Strategy.NEVER,
    ),
    _ticket(
        "merge_unsettled", "The agent left merge conflicts behind.", "Merge what it depends on first, then requeue it."
    ),
    _ticket("tests_failed", "The project's tests failed in the VM.", "Read the log; it ends with what the tests said."),
    _ticket(
        "checks_refused",
        "The checks refused what was pushed: a secret, an injection, its size, or damage.",
        "The log names rule, file and line; take it out of the change.",
    ),
    _ticket(
        "push_failed",
        "The push did not work, or the upstream's own rules refuse the branch.",
        "Read the log, and what the upstream allows for branches below swarm/.",
    ),
    _ticket("prepare_failed", "The checkout did not work in the VM.", "Read the log; git's own words stand in it."),
    _ticket("disk_full", "The VM's disk was full.", "Give the ticket more disk_mib in its resources."),
    _ticket(
        "timeout", "The attempt ran longer than its ticket allows.", "Set a longer timeout, or make smaller tickets."
    ),
    _ticket(
        "stalled",
        "The agent made no progress for too long.",
        "Read the end of its log; set a longer stall_timeout if such silence is usual.",
    ),
    _ticket(
        "violation",
        "The guest broke its protocol too often.",
        "See which calls were blocked, and who wrote the agent, before you requeue it.",
        Strategy.NEVER,
    ),
    _ticket(
        "bad_ticket",
        "What the ticket names cannot be used: its repository, a branch, its credentials, or its input.",
        "Correct what the reason names, then requeue it.",
        Strategy.NEVER,
    ),
    _host(
        "host_lost",
        "The host stopped renewing its lease.",
        "See `swarm host list`; the host's log says why.",
        Strategy.MOVE,
    ),
    _host("vm_lost", "The VM ended by itself or did not start.", "Read hostd's log; memory is the usual reason."),
    _host("unhealthy", "The VM gave no sign of life any more.", "Read hostd's log; look at the load of the host."),
    _host("host_failed", "Something failed on the host.", "Read hostd's log."),
    _host("host_full", "The host had no room when the work arrived.", "Lower its --max-vms, or add a host."),
    _host("template_failed", "The host has no usable image or template.", "Run `swarm template verify`."),
    _host("bundle_failed", "The agent's files did not reach the host whole.", "Publish the agent again."),
    _host("cancelled", "The host ended it, and nobody had asked for that.", "Read hostd's log."),
    _upstream(
        "git_rate_limited",
        "The repository's server refuses calls because there were too many.",
        "Nothing, for a while; or run fewer tickets at once.",
    ),
    _upstream(
        "git_down",
        "The repository's server could not be reached.",
        "Check the server and the host's network; hostd's log has git's words.",
    ),
    _upstream(
        "upstream_rate_limited",
        "An upstream service refuses calls because there were too many.",
        "Nothing, for a while; or run fewer tickets at once.",
    ),
    _upstream(
        "upstream_down",
        "An upstream service could not be reached.",
        "Check the upstream and the host's network.",
    ),
    Cause(
        "budget",
        Fault.NOBODY,
        Strategy.PARK,
        "The budget is used up.",
        "Raise the budget, then `swarm ticket retry`.",
    ),
    Cause(
        "host_stopping",
        Fault.NOBODY,
        Strategy.AGAIN,
        "The host was stopped or drained in order.",
        "Nothing: the ticket runs again as soon as its VM has stopped.",
    ),
    Cause(
        "restored",
        Fault.NOBODY,
        Strategy.AGAIN,
        "It was leased when the backup was made that the control plane was restored from.",
        "Nothing: the ticket runs again at once.",
    ),
)
CAUSES: Final[Mapping[str, Cause]] = {cause.name: cause for cause in _CAUSES}

# Names that older hosts send, and older rows hold.
_RENAMED: Final = {"agent_failed": "agent_crashed", "upstream_failed": "upstream_down"}

# Waits as for any upstream, and says nothing of the one that an agent needs.
OF_GIT: Final = frozenset({"git_down", "git_rate_limited"})

# What a guest may say of itself; it harms none but its own ticket. Anything else is decided by its host.
GUEST_CAUSES: Final = frozenset(
    {
        "agent_crashed",
        "agent_gave_up",
        "bad_ticket",
        "budget",
        "checks_refused",
        "disk_full",
        "merge_unsettled",
        "prepare_failed",
        "push_failed",
        "tests_failed",
        "timeout",
    }
)
_OF_PHASE: Final = {"prepare": "prepare_failed", "tests": "tests_failed", "push": "push_failed"}


@dataclass(frozen=True, slots=True)
class Failure:
    """How one attempt failed. `at` is epoch seconds, `delay_s` the wait that followed; None: no attempt follows."""

    attempt_id: str
    ticket_id: str
    cause: str
    fault: Fault
    host_id: str
    agent: str
    at: float
    delay_s: float | None


def cause_of(name: str) -> Cause:
    """The cause of that name, old names too; `host_failed` for one that a host made up."""
    return CAUSES.get(_RENAMED.get(name, name)) or CAUSES["host_failed"]


def guest_cause(said: str, phase: str) -> str:
    """The cause when a guest reports that it failed in `phase`, because of what it `said`, if that is known."""
    return said if said in GUEST_CAUSES else _OF_PHASE.get(phase, "agent_crashed")
