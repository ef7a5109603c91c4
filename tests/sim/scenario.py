"""How large a run is and how hostile."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Faults:
    """Rates are per occasion; means are virtual seconds between faults of one kind, 0 for never."""

    lost_wakeup: float = 0.05
    failed_write: float = 0.01
    forge_failure: float = 0.2
    lost_call: float = 0.08
    host_death_s: float = 30.0
    freeze_s: float = 30.0
    network_s: float = 15.0
    control_death_s: float = 35.0
    clock_step_s: float = 45.0
    operator_s: float = 30.0
    meddling_s: float = 18.0


CALM = Faults(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class Scenario:
    """`lasting_s`: how long faults go on; then everything heals and has `settling_s` to come to rest."""

    hosts: int = 4
    tickets: int = 10
    batches: int = 2
    vms: tuple[int, ...] = (1, 2, 3)
    limits: tuple[int, ...] = (0, 0, 2)  # of a project's concurrency
    longest_s: float = 75.0  # of an attempt's work
    filing_s: float = 15.0  # between batches
    lasting_s: float = 90.0
    settling_s: float = 900.0
    delay_s: float = 0.05  # of the network
    forge_s: float = 0.5  # of one of its answers, at most
    pauses: bool = True  # around commits, so that other tasks come between
    watchers: int = 1
    poison: float = 0.06
    restores: bool = False  # a backup is made and, some time later, put in the place of the database
    faults: Faults = field(default_factory=Faults)


# Operators would have to see again to what the backup does not know, and a watcher's ticket may be gone.
RESTORING = Scenario(restores=True, watchers=0, faults=Faults(operator_s=0))


def scaled(hosts: int, tickets: int) -> Scenario:
    """A fleet instead of a torture: the same faults, fewer for each host. An epic has fifty tickets or more."""
    lasting_s = max(120.0, 2 * tickets / hosts)
    batches = max(3, min(tickets // 50, 500))
    return Scenario(
        hosts=hosts,
        tickets=tickets,
        batches=batches,
        vms=(4,),
        limits=(0,),
        longest_s=60.0,
        filing_s=lasting_s / batches,
        lasting_s=lasting_s,
        settling_s=20_000.0,
        forge_s=0.02,
        pauses=False,
        poison=0.002,
        faults=Faults(
            host_death_s=8.0,
            freeze_s=8.0,
            network_s=3.0,
            control_death_s=200.0,
            clock_step_s=200.0,
            operator_s=30.0,
            meddling_s=2.0,
            failed_write=0.0005,
            lost_wakeup=0.01,
        ),
    )
