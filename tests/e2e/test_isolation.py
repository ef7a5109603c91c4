"""What code in a VM can reach (nothing but its broker), and what it can find (no secret)."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from swarm_sdk.client import Client
from swarm_sdk.types import Ticket, name_of
from tests.e2e.harness import memory, tickets
from tests.e2e.harness.deployment import Deployment, Plan
from tests.e2e.harness.network import Ears, addresses

pytestmark = pytest.mark.kinds("real")

# Runs as root in the guest. Everything that gets an answer is printed after "REACHED".
PROBE = r"""
import os, socket, struct, sys

def attempt(name, action):
    try:
        answer = action()
    except OSError as error:
        print("blocked", name, error, flush=True)
    else:
        print("REACHED" if answer else "blocked", name, answer, flush=True)

def tcp(address, port):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as s:
        s.settimeout(0.5)
        s.connect((address, port))
        return "connected"

def udp(address, port):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as s:
        s.settimeout(0.5)
        s.sendto(b"canary-frame", (address, port))
        return s.recv(100)

def icmp(address):
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as s:
        s.settimeout(0.5)
        body = struct.pack("!BBHHH", 8, 0, 0, 7, 1) + b"canary-frame"
        total = sum(struct.unpack(f"!{len(body) // 2}H", body))
        total = (total >> 16) + (total & 0xffff)
        s.sendto(body[:2] + struct.pack("!H", ~(total + (total >> 16)) & 0xffff) + body[4:], (address, 0))
        return s.recv(100)

def frame(target):
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)) as s:
        s.bind(("eth0", 0))
        s.settimeout(0.5)
        s.send(bytes.fromhex("ffffffffffff" "0600ac100099" "0800") + socket.inet_aton(target) * 4 + b"canary-frame" * 4)
        return b"canary-reply" in s.recv(2000)

def dns(server):
    query = struct.pack("!6H", 7, 256, 1, 0, 0, 0) + b"\7example\3com\0" + struct.pack("!2H", 1, 1)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.settimeout(0.5)
        s.sendto(query, (server, 53))
        return s.recv(500)

def routed(address):
    # SIOCADDRT: a default route through the host, which code with root can always add
    import ctypes, fcntl
    def sockaddr(ip): return struct.pack("=HH4s8x", socket.AF_INET, 0, socket.inet_aton(ip))
    entry = struct.pack("=Q", 0) + sockaddr("0.0.0.0") + sockaddr("172.16.0.1") + sockaddr("0.0.0.0")
    entry += struct.pack("=Hh", 3, 0) + b"\0" * 76
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        try:
            fcntl.ioctl(s, 0x890B, entry)
        except OSError as error:
            print("route:", error)
    return None

targets = TARGETS
ports = PORTS
attempt("route", lambda: routed(""))
print(open("/proc/net/route").read())
for address in targets:
    for port in ports:
        attempt(f"tcp {address} {port}", lambda: tcp(address, port))
    attempt(f"udp {address}", lambda: udp(address, ports[0]))
    if ":" not in address and address != "172.16.0.1":  # the other end of our own wire may answer a ping
        attempt(f"icmp {address}", lambda: icmp(address))
        attempt(f"frame {address}", lambda: frame(address))
        attempt(f"dns {address}", lambda: dns(address))
attempt("name", lambda: socket.getaddrinfo("example.com", 80))
attempt("broker", lambda: "BROKER" if tcp("172.16.0.1", 8000) else "")
print("probed", len(targets))
"""


@pytest.fixture(scope="module")
def ears() -> Iterator[Ears]:
    """Servers on every address of this machine that would answer, and a capture of what arrives."""
    with Ears() as listening:
        yield listening


async def run(client: Client, script: str, **more: Any) -> Ticket:
    made = await client.tickets.create(tickets.shell(script, **more))
    return await tickets.settled(client, made.id)


async def test_no_way_leads_out_of_a_vm(client: Client, ears: Ears) -> None:
    """TCP, UDP, ICMP, IPv6, DNS and raw frames, with a default route added by force."""
    other = await client.tickets.create(tickets.shell("sleep 120", title="Another VM"))
    await tickets.reached(client, other.id, "running")
    targets = [*addresses(), "172.16.0.1", "172.16.0.3", "169.254.169.254", "8.8.8.8", "2606:4700::1111"]
    probe = PROBE.replace("TARGETS", repr(targets)).replace("PORTS", repr([ears.port, 22]))
    done = await run(client, f"cat > probe.py <<'PROBE'\n{probe}\nPROBE\npython3 probe.py")
    said = (await tickets.logs(client, done.id)).splitlines()
    await client.tickets.cancel(other.id)

    assert name_of(done, "state") == "completed", await tickets.story(client, done.id)
    assert f"probed {len(targets)}" in said
    assert [line for line in said if line.startswith("REACHED")] == ["REACHED broker BROKER"]
    assert ears.heard() == []


async def test_the_ears_would_hear(ears: Ears) -> None:
    """The test above means something only if a frame that does get out is noticed."""
    ears.call_yourself()

    assert ears.heard() != []
    ears.forget()


async def test_clones_of_one_template_differ(client: Client) -> None:
    script = (
        "python3 -c 'import uuid; print(\"unique\", uuid.uuid4())'; "
        "echo unique $(cat /etc/machine-id); echo unique $(hostname); echo unique $(cat /proc/sys/kernel/random/uuid); "
        "echo clock $(date +%s); echo unique $(head -c 16 /dev/urandom | od -An -tx1 | tr -d ' ')"
    )
    made = await client.tickets.create_all([tickets.shell(script, title=f"Clone {number}") for number in range(4)])
    said = []
    for each in made:
        assert name_of(await tickets.settled(client, each.id), "state") == "completed"
        said.append((await tickets.logs(client, each.id)).splitlines())
    unique = [line for lines in said for line in lines if line.startswith("unique ")]
    events = await tickets.events(client, made[-1].id, "agent.log")
    clock = next(tickets.data(each)["text"] for each in events if str(tickets.data(each)["text"]).startswith("clock "))
    sent = int(str(clock).split()[1])

    assert len(unique) == 20
    assert len(set(unique)) == 20
    assert abs(events[-1].time.ToNanoseconds() / 1e9 - sent) < 30


# Secrets


@dataclass(frozen=True, slots=True)
class Canaries:
    """Made-up secrets that every part of the host needs and no VM may see."""

    password: str
    ssh_key: str
    environment: str


@pytest.fixture(scope="module")
def canaries() -> Canaries:
    return Canaries(*(f"canary{secrets.token_hex(16)}" for _ in range(3)))


@pytest.fixture(scope="module")
def plan(kind: str, canaries: Canaries, tmp_path_factory: pytest.TempPathFactory) -> Plan:
    folder = tmp_path_factory.mktemp("secrets")
    store, key = folder / "credentials", folder / "key"
    store.write_text(f"https://bot:{canaries.password}@git.invalid\n")
    key.write_text(f"{canaries.ssh_key}\n")
    for path in (store, key):
        path.chmod(0o600)
    options = ("--git-credentials", str(store), "--git-ssh-key", str(key), "--log-level", "debug")
    return Plan(kind=kind, host=options, environment={"SWARM_CANARY": canaries.environment})


def forms(secret: str) -> list[bytes]:
    """How a secret may be written down."""
    raw = secret.encode()
    return [raw, base64.b64encode(raw), raw.hex().encode(), quote(secret).encode(), base64.urlsafe_b64encode(raw)[:40]]


async def test_no_secret_enters_a_vm(deployment: Deployment, client: Client, canaries: Canaries) -> None:
    """Looks in the guest's memory and disk, in what it can read itself, and in all that is kept about its ticket."""
    upstream = deployment.upstream("canary", {"README.md": "canary\n"})
    project = await tickets.project(client, upstream)
    script = (
        "env; cat /proc/1/environ /proc/cmdline; cat $SWARM_TICKET $SWARM_INPUT; git config -l; date > now; sleep 6"
    )
    made = await client.tickets.create(tickets.shell(script, project_id=project.id))
    vm_id = await tickets.vm_of(client, made.id)
    pid = deployment.vm_pid(vm_id)
    known = {
        "admin token": (deployment.state / "admin.token").read_text().strip(),
        "host token": (deployment.state / "hosts/local.token").read_text().strip(),
        "upstream password": canaries.password,
        "ssh key": canaries.ssh_key,
        "host environment": canaries.environment,
    }
    needles = {name: forms(secret) for name, secret in known.items()}
    await client.vms.pause(vm_id)
    in_memory = memory.find(pid, needles)
    in_disk = memory.find_in_files(memory.open_files(pid), needles)
    sentinel = memory.find(pid, {"ticket": [made.key.encode()]})
    await client.vms.resume(vm_id)
    done = await tickets.settled(client, made.id)
    told = "\n".join(str(tickets.data(each)) for each in await tickets.events(client, made.id)).encode()
    kept = [path for name in ("artifacts", "attempts", "vms") for path in (deployment.host_dir() / name).rglob("*")]
    database = list(deployment.state.glob("controlplane.db*"))

    assert name_of(done, "state") == "in_review"
    assert sentinel == {"ticket"}, "the search does not find what is in the guest's memory"
    assert in_memory == set()
    assert in_disk == set()
    assert {name for name, some in needles.items() if any(each in told for each in some)} == set()
    assert memory.find_in_files([*database, *filter(Path.is_file, kept)], needles) == set()
    assert memory.find_in_files(deployment_logs(deployment), needles) == set()
    assert canaries.password not in upstream.git("log", "--all", "-p")


def deployment_logs(deployment: Deployment) -> list[Path]:
    return [process.log for process in deployment.processes]


async def test_one_vm_cannot_act_for_another(deployment: Deployment, client: Client) -> None:
    """Whatever a guest claims, its socket decides: other refs and other attempts are out of reach."""
    upstream = deployment.upstream("others", {"README.md": "others\n"})
    project = await tickets.project(client, upstream)
    script = """
    git config user.email a@b; git config user.name a
    echo x > x; git add x; git commit -qm x
    for ref in refs/heads/main refs/heads/swarm/TKT-999/a1 refs/heads/swarm/TKT-999/pr refs/tags/v1 refs/heads/x; do
        if git push origin HEAD:$ref; then echo "PUSHED $ref"; fi
    done
    git push origin :refs/heads/main && echo "PUSHED delete"
    for path in /v1/work/TK_1 /v1/../v1/events /git/other.git/info/refs /metrics /v1/result?ticket=TKT-999; do
        code=$(python3 - "$path" <<'EOF'
import http.client, sys
c = http.client.HTTPConnection("172.16.0.1", 8000, timeout=5)
c.request("GET", sys.argv[1], headers={"Authorization": "Bearer x", "X-Attempt": "at_1", "Host": "127.0.0.1"})
print(c.getresponse().status)
EOF
)
        echo "status $code $path"
    done
    """
    done = await run(client, script, project_id=project.id)
    said = await tickets.logs(client, done.id)
    statuses = [int(line.split()[1]) for line in said.splitlines() if line.startswith("status ")]

    assert "PUSHED" not in said
    assert len(statuses) == 5
    assert all(400 <= status < 500 for status in statuses), statuses
    assert upstream.branches().keys() <= {"main", f"swarm/{done.key}/a1", f"swarm/{done.key}/pr"}
    assert upstream.files("main") == {"README.md"}
    assert upstream.git("tag") == ""
    assert await tickets.events(client, done.id, "call.blocked")
