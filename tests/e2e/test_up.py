"""`swarm up` and `swarm down`: the embedded default, started and stopped as people do it."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator

import pytest

from tests.e2e.harness import cli, inventory
from tests.e2e.harness.deployment import Deployment, Plan
from tests.e2e.harness.waiting import until

pytestmark = pytest.mark.kinds("sim")


@pytest.fixture
def place(kind: str) -> Iterator[Deployment]:
    """A place for a deployment that the test starts by itself."""
    made = Deployment(Plan(kind=kind))
    yield made
    made.swarm("down", code=None)
    made.close()


def up(place: Deployment) -> list[str]:
    return ["up", "--driver", "sim" if place.plan.kind == "sim" else "qemu", "--max-vms", "2"]


def pids(place: Deployment) -> list[int]:
    found = [path.read_text().split()[0] for path in sorted((place.state / "run").glob("*.pid"))]
    return [int(pid) for pid in found]


def test_up_is_repeatable_and_down_stops_everything(place: Deployment) -> None:
    place.swarm(*up(place))
    first = pids(place)
    again = place.swarm(*up(place))

    assert len(first) == 2
    assert pids(place) == first
    assert "runs already" in again.err
    assert place.swarm("status", "--json").json["hosts_online"] == 1
    assert place.swarm("down", "--json").json == {"stopped": ["hostd", "controlplane"]}
    assert not any(inventory.alive(pid) for pid in first)
    assert place.swarm("down", "--json").json == {"stopped": []}
    assert not place.left()


def test_tickets_survive_down_and_up(place: Deployment) -> None:
    place.swarm(*up(place))
    made = place.swarm("ticket", "create", "Say hello", "--agent", "echo", "--hold", "--json").json
    place.swarm("down")
    place.swarm(*up(place))
    done = place.swarm("run-ticket", made["key"], "--wait", "--json").json

    assert done["state"] == "TICKET_STATE_COMPLETED"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_in_the_foreground_a_signal_stops_everything(place: Deployment, number: signal.Signals, code: int) -> None:
    child = cli.start(*up(place), "--foreground", environment=place.environment)
    until(lambda: _serves(place), "it is up")
    started = pids(place)
    child.send_signal(number)
    out, err = child.communicate(timeout=60)

    assert child.returncode == code, (out, err)
    assert "Traceback" not in err
    assert "stopped" in err
    assert not any(inventory.alive(pid) for pid in started)
    assert not place.left()
    place.swarm(*up(place))
    assert place.swarm("status", "--json").json["hosts_online"] == 1


def _serves(place: Deployment) -> bool:
    done = place.swarm("status", "--json", code=None)
    return done.code == 0 and done.json["hosts_online"] == 1


def test_in_the_foreground_the_end_of_a_process_ends_all(place: Deployment) -> None:
    child = cli.start(*up(place), "--foreground", environment=place.environment)
    until(lambda: _serves(place), "it is up")
    _, host = started = pids(place)
    subprocess.run(["kill", "-KILL", str(host)], check=True)
    _, err = child.communicate(timeout=60)

    assert child.returncode == 5
    assert "ended by itself" in err
    assert not any(inventory.alive(pid) for pid in started)


def test_a_control_plane_that_cannot_start_is_told_with_its_last_words(place: Deployment) -> None:
    place.state.mkdir()
    (place.state / "controlplane.db").write_bytes(b"this is no database" * 100)
    done = place.swarm(*up(place), code=5)

    assert "controlplane ended at once" in done.err
    assert "Traceback" not in done.err
    assert not any(inventory.alive(pid) for pid in pids(place))


@pytest.mark.parametrize(
    "argv",
    [
        ("controlplane", "--state-dir", "/dev/null/x"),
        ("controlplane", "--frobnicate"),
        ("hostd", "--state-dir", "/dev/null/x", "--control", "unix:/nowhere"),
        ("hostd", "--control", "unix:/nowhere"),
        ("hostd", "--frobnicate"),
    ],
    ids=" ".join,
)
def test_a_wrong_configuration_is_one_clear_end(place: Deployment, argv: tuple[str, ...]) -> None:
    done = subprocess.run(
        [cli.SWARM.with_name("python"), "-m", *argv],
        env=place.environment,
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert done.returncode != 0
    assert done.stderr.strip()
    assert "Traceback" not in done.stderr


def test_doctor_looks_at_this_machine(place: Deployment) -> None:
    done = place.swarm("doctor", "--json", code=None)

    assert done.code in {0, 1}
    assert {"root", "kernel"} <= {each["name"] for each in done.json}
    assert (done.code == 1) == any(each["status"] == "failed" for each in done.json)
