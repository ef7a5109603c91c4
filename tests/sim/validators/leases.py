"""Time: who may hold what for how long, and who takes over when."""

from __future__ import annotations

from collections.abc import Iterator

from controlplane.domain.epoch import FENCES
from controlplane.domain.lease import BRAKE_HOSTS, BRAKE_S, LeaseTimes
from tests.sim.evidence import Evidence
from tests.sim.validators.timeline import Lease, Timeline, last_before

TIMES = LeaseTimes()
SWEEP_S = 5.0
HELD_S = 60.0  # TTL and grace, spelled out: a wrong constant in the product must not move the yardstick
# A commit takes a moment, and so does its answer.
EARLY_S = 1.0
# A sweep whose write failed is made up by the next one.
LATE_S = 3 * SWEEP_S
HEARD_S = 20.0
BACK_S = 90.0


def early_expiry(evidence: Evidence, line: Timeline) -> Iterator[str]:
    """I5, I26: no lease ends for silence before TTL and grace, nor in the first TTL of a control plane."""
    for lease in line.leases:
        if not lease.reason.startswith("host_lost"):
            continue
        grant = max(lease.begin, last_before(line.granted.get(lease.attempt, ()), lease.end) or 0.0)
        started, _ = line.start_before(lease.end)
        if line.clock(lease.end) < line.clock(grant) + HELD_S - EARLY_S:
            yield f"{lease.ticket}: fence {lease.fence} was renewed at {grant:.1f} and expired at {lease.end:.1f}"
        if lease.end < started + TIMES.ttl_s - EARLY_S:
            yield f"{lease.ticket}: expired at {lease.end:.1f}, the control plane only started at {started:.1f}"


def late_expiry(evidence: Evidence, line: Timeline) -> Iterator[str]:
    """I3, I26: what nobody renews is taken back in time, unless half of the fleet is gone."""
    for lease in line.leases:
        bound, ended = _due(lease, line), min(lease.end, line.history[-1]["t"])
        if ended > bound and not _may_brake(evidence, line, bound, ended):
            yield f"{lease.ticket}: fence {lease.fence} was due by {bound:.1f} and ended at {lease.end:.1f}"


def _due(lease: Lease, line: Timeline) -> float:
    last = max(lease.begin, last_before(line.heard.get(lease.attempt, ()), lease.end) or 0.0)
    ended = min(lease.end, line.history[-1]["t"])
    started, offset = line.start_before(ended)
    return max(line.clock(last) + HELD_S - offset, started + TIMES.ttl_s) + SWEEP_S + LATE_S


def _may_brake(evidence: Evidence, line: Timeline, begin: float, end: float) -> bool:
    if len(evidence.capacity) < BRAKE_HOSTS:
        return False
    t = begin - LATE_S
    while t <= end:
        if 2 * sum(_maybe_silent(host, line, t) for host in evidence.capacity) >= len(evidence.capacity):
            return True
        t += SWEEP_S
    return False


def _maybe_silent(host: str, line: Timeline, t: float) -> bool:
    if host not in line.attached or not line.attached[host].hold(t):
        return True
    leases = [lease for lease in line.by_host[host] if lease.begin <= t < lease.end]
    times = [last_before(line.heard.get(lease.attempt, ()), t) or lease.begin for lease in leases]
    return bool(times) and max(times) + TIMES.ttl_s <= t + SWEEP_S


def mass_expiry(evidence: Evidence, line: Timeline) -> Iterator[str]:
    """I5: nothing expires while half of three or more hosts are detached. A host that was never there is not away."""
    for lease in line.leases:
        hosts = [host for host in evidence.capacity if host in line.attached and _came(line, host) <= lease.end]
        if len(hosts) < BRAKE_HOSTS or not lease.reason.startswith("host_lost"):
            continue
        gone = [host for host in hosts if not _seen(line, host, lease.end)]
        if 2 * len(gone) >= len(hosts) and lease.end < line.start_before(lease.end)[0] + BRAKE_S:
            yield f"{lease.ticket}: expired at {lease.end:.1f} while {len(gone)} of {len(hosts)} hosts were away"


def _came(line: Timeline, host: str) -> float:
    return line.attached[host].spans[0][0]


def _seen(line: Timeline, host: str, t: float) -> bool:
    return host in line.attached and line.attached[host].hold(t, lately=EARLY_S)


def two_at_work(evidence: Evidence, line: Timeline) -> Iterator[str]:
    """I4: however a lease ended, its VM is paused or gone before the next one starts. A stopped host may err.

    What was leased in an epoch before is the exception: its host hears of the restore only when it comes back, and
    fences hold what it does.
    """
    working: dict[str, dict[str, tuple[str, int]]] = {}  # ticket -> attempt -> host, fence
    for entry in line.history:
        match entry["op"]:
            case "vm.run":
                others = working.setdefault(entry["ticket"], {})
                for host, fence in others.values():
                    free = host not in line.frozen or not line.frozen[host].hold(entry["t"], lately=EARLY_S)
                    if fence < entry["fence"] and fence // FENCES == entry["fence"] // FENCES and free:
                        yield f"{entry['ticket']}: {host} still worked when {entry['host']} began at {entry['t']:.1f}"
                others[entry["attempt"]] = entry["host"], entry["fence"]
            case "vm.pause" | "vm.end":
                working.get(entry["ticket"], {}).pop(entry["attempt"], None)
            case "host.die":  # and its broker with it
                for others in working.values():
                    for attempt in [attempt for attempt, (host, _) in others.items() if host == entry["host"]]:
                        del others[attempt]
            case _:
                pass


def delivery(evidence: Evidence, line: Timeline) -> Iterator[str]:
    """A lease reaches a host that is there: attached and undisturbed for a while, it has heard of it."""
    heard = {
        (entry["host"], entry["attempt"])
        for entry in line.of("host.hear")
        if entry["what"] in {"assignment", "revoke", "stale"}
    }
    trouble: dict[str, list[float]] = {}
    for entry in line.of("host.freeze", "host.thaw", "host.die", "network.fault", "control.die", "control.detach"):
        hosts = entry.get("hosts") or ([entry["host"]] if "host" in entry else list(evidence.capacity))
        for host in hosts:
            trouble.setdefault(host, []).append(entry["t"])
            if entry["op"] == "network.fault":
                trouble[host].append(entry["t"] + entry["s"])
    for lease in line.leases:
        if (lease.host, lease.attempt) in heard:
            continue
        for begin, end in line.attached[lease.host].spans if lease.host in line.attached else ():
            since, until = max(begin, lease.begin), min(end, lease.end, line.history[-1]["t"])
            disturbed = any(since - HEARD_S <= t <= until for t in trouble.get(lease.host, ()) if t > begin)
            if until - since > HEARD_S and not disturbed and not _stalled(evidence, line, lease.host, since, until):
                yield f"{lease.ticket}: {lease.host} was there from {since:.1f} and never heard of fence {lease.fence}"
                break


def _stalled(evidence: Evidence, line: Timeline, host: str, since: float, until: float) -> bool:
    """A long fault of the network that began earlier may reach into the spell."""
    return any(
        entry["t"] <= until and entry["t"] + entry["s"] >= since and host in entry["hosts"]
        for entry in line.of("network.fault")
    )


def returns(evidence: Evidence, line: Timeline) -> Iterator[str]:
    """Once everything has healed, every host is attached again before long."""
    calm = next((entry["t"] for entry in line.of("world.calm")), None)
    end = line.history[-1]["t"] if line.history else 0.0
    if calm is None or end < calm + BACK_S:
        return
    for host in evidence.capacity:
        if host not in line.attached or not line.attached[host].hold(end, lately=BACK_S):
            yield f"{host}: is not attached {end - calm:.0f} s after everything has healed"


CHECKS = (early_expiry, late_expiry, mass_expiry, two_at_work, delivery, returns)
