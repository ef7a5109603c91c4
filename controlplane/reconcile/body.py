"""The text of a pull request: what was asked, what was checked, what was denied, and where the work came from."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from controlplane.domain.agent import Agent
from controlplane.domain.claim import is_external
from controlplane.domain.host import Host
from controlplane.domain.ticket import Attempt, Isolation, Ticket

_ISOLATION = {
    Isolation.SIM: "none (simulated)",
    Isolation.TCG: "tcg (no security boundary)",
    Isolation.KVM_QEMU: "kvm-qemu",
    Isolation.KVM_FIRECRACKER: "kvm-firecracker",
}


@dataclass(frozen=True, slots=True)
class Provenance:
    """What stood behind the winning attempt. Hosts and agents may be gone from the records by now."""

    attempt: Attempt | None
    agents: Sequence[Agent]
    host: Host | None
    fence: int
    base: str
    head: str
    template_digest: str

    @property
    def outside(self) -> bool:
        """Whether a program with a sandbox of its own did the work."""
        return self.attempt is not None and is_external(self.attempt.host_id)


def body(
    ticket: Ticket, provenance: Provenance, *, test_command: str, findings: Sequence[str], blocked: Sequence[str]
) -> str:
    """Markdown. Texts that a guest or host had a hand in stand in code spans, where nothing in them is markup."""
    sections = [
        ticket.spec.description,
        _list("Acceptance criteria", ticket.spec.acceptance_criteria),
        _list("Checks", _checks(test_command, findings, outside=provenance.outside)),
        _list("Blocked calls", map(_code, blocked)),
        _list("Provenance", _provenance(ticket, provenance)),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _checks(test_command: str, findings: Sequence[str], *, outside: bool) -> list[str]:
    if not test_command:
        tests = "no test command is set for the project"
    elif outside:
        tests = f"{_code(test_command)} was left to the external agent; nobody here ran it"
    else:
        tests = f"{_code(test_command)} passed in the VM"
    scan = [f"push scan: {_code(finding)}" for finding in findings] or ["push scan: nothing found"]
    return [tests, *scan]


def _provenance(ticket: Ticket, known: Provenance) -> list[str]:
    attempt, host = known.attempt, known.host
    lines = [f"ticket {ticket.key}, fence {known.fence}" + (f", attempt {attempt.number}" if attempt else "")]
    if ticket.spec.workflow:
        lines.append(f"workflow {ticket.spec.workflow}")
    lines += [f"agent {agent.name} {agent.version}, bundle sha256 `{agent.digest}`" for agent in known.agents]
    if host:
        lines.append(f"host {_code(host.name)}, isolation {_ISOLATION.get(host.isolation, 'unknown')}")
    if attempt and attempt.vm_id:
        tier = f", booted {attempt.boot.tier}" if attempt.boot.tier else ""
        lines.append(f"VM {_code(attempt.vm_id)}{tier}")
    if known.outside:
        lines.append("claimed by an external agent, which ran it in a sandbox of its own")
    if known.template_digest:
        lines.append(f"template {_code(known.template_digest)}")
    return [*lines, f"base `{known.base or 'unknown'}`", f"head `{known.head}`"]


def _code(text: str) -> str:
    return f"`{' '.join(text.replace('`', chr(39)).split())}`"


def _list(heading: str, lines: Iterable[str]) -> str:
    listed = "\n".join(f"- {line}" for line in lines)
    return f"### {heading}\n{listed}" if listed else ""
