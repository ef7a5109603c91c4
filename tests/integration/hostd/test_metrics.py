"""What Prometheus reads from a host."""

from __future__ import annotations

import urllib.request

from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from tests.fakes.control_plane import ControlPlane, until
from tests.integration.controlplane.test_process import free_port
from tests.integration.hostd.conftest import Hosts

HANGING = {"sim": {"hang": True}}
DECLARED = {
    "swarm_host_vms": "gauge",
    "swarm_host_attempts": "gauge",
    "swarm_host_attempts_finished": "counter",
    "swarm_host_vm_boot_seconds": "histogram",
    "swarm_host_link_up": "gauge",
    "swarm_host_fenced": "gauge",
    "swarm_host_lease_losses": "counter",
}


class Scraper:
    def __init__(self, port: int) -> None:
        self._url = f"http://127.0.0.1:{port}/metrics"

    def families(self) -> dict[str, Metric]:
        with urllib.request.urlopen(self._url, timeout=60) as answer:  # noqa: S310  # our own address
            assert answer.headers.get_content_type() == "text/plain"
            text = answer.read().decode()
        found = text_string_to_metric_families(text)
        return {family.name: family for family in found if not family.name.endswith("_created")}

    def value(self, name: str, **labels: str) -> float:
        """Of one sample; 0 while there is none."""
        samples = (sample for family in self.families().values() for sample in family.samples)
        return next((each.value for each in samples if each.name == name and each.labels == labels), 0.0)


async def test_a_scrape_tells_of_attempts_vms_and_the_link(control: ControlPlane, hosts: Hosts) -> None:
    port = free_port()
    await hosts("state", "--metrics", f"127.0.0.1:{port}").start()
    host, scraper = await control.host(), Scraper(port)
    families = scraper.families()
    assert {name: family.type for name, family in families.items()} == DECLARED
    assert all(family.documentation for family in families.values())
    assert (scraper.value("swarm_host_link_up"), scraper.value("swarm_host_fenced")) == (1, 0)
    assert scraper.value("swarm_host_attempts_finished_total", cause="outcome") == 0

    control.assign(host, "at_one", input={"sim": {"logs": 1}})
    await control.finished(host)
    await until(lambda: scraper.value("swarm_host_attempts_finished_total", cause="outcome") == 1, "it is counted", 60)
    assert boots(scraper) == 1

    held = control.assign(host, "at_two", input=HANGING)
    await until(lambda: scraper.value("swarm_host_attempts") == 1, "it runs", 60)
    await until(lambda: scraper.value("swarm_host_vms", state="running") == 1, "its VM is reported", 60)
    control.stale.add(held.attempt_id)
    await until(lambda: scraper.value("swarm_host_attempts") == 0, "it is ended", 60)
    assert boots(scraper) == 2


async def test_a_scrape_tells_of_a_host_that_has_no_lease(control: ControlPlane, hosts: Hosts) -> None:
    port, control.self_fence_ms = free_port(), 500
    await hosts("state", "--metrics", f"127.0.0.1:{port}").start()
    host, scraper = await control.host(), Scraper(port)
    control.assign(host, "at_one", input=HANGING)
    await until(lambda: scraper.value("swarm_host_attempts") == 1, "it runs", 60)
    control.silent = True
    await until(lambda: scraper.value("swarm_host_fenced") == 1, "it fences itself", 60)
    assert scraper.value("swarm_host_lease_losses_total") >= 1
    control.silent = False
    await until(lambda: scraper.value("swarm_host_fenced") == 0, "it has a lease again", 60)
    await control.stop()
    await until(lambda: scraper.value("swarm_host_link_up") == 0, "the link is gone", 60)


def boots(scraper: Scraper) -> float:
    """All VMs that were ever taken, by whatever tier."""
    family = scraper.families()["swarm_host_vm_boot_seconds"]
    return sum(sample.value for sample in family.samples if sample.name.endswith("_count"))
