"""Procrastinate on PostgreSQL as the peer of `dispatch`: a cluster of its own, one worker process, layered graphs.

`python -m bench.procrastinate_peer DSN` is the worker. Procrastinate has no graphs: a layer's last job to end defers
the next layer, in one batch, by a counter kept in the job's own database. That is less than a ticket gets from us: no
per-ticket dependencies, no events, no leases; a job's row and Procrastinate's own event rows are what is stored.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Self

NAME_OF_PEER = "Procrastinate on PostgreSQL"
USER = "postgres"
PORT = "5432"
CONCURRENCY = 50
"""Jobs at once in the worker: as many as there are hosts."""
WAIT_S = 120.0
TABLES = """
CREATE TABLE bench_layer (graph bigint, layer int, open int NOT NULL, PRIMARY KEY (graph, layer));
CREATE TABLE bench_job (id bigserial PRIMARY KEY, ready double precision NOT NULL, started double precision NOT NULL);
"""


def missing() -> str:
    """Why it cannot be measured here; empty: it can."""
    if find_spec("procrastinate") is None or find_spec("psycopg") is None:
        return "procrastinate is not installed: .venv/bin/pip install '.[bench]'"
    if binary("initdb") is None:
        return "PostgreSQL is not installed: apt-get install postgresql"
    if os.geteuid() == 0 and not any(each.pw_name == USER for each in pwd.getpwall()):
        return f"PostgreSQL does not run as root, and there is no user {USER}"
    return ""


def binary(name: str) -> str | None:
    """Debian keeps the server's programs off the PATH; the newest version is taken."""
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda path: float(path.parts[-3]))
    return str(found[-1]) if found else shutil.which(name)


@contextmanager
def cluster() -> Iterator[str]:
    """A PostgreSQL with its defaults, durable as ours is, on a Unix socket in a directory that is gone at the end."""
    user = USER if os.geteuid() == 0 else None
    with tempfile.TemporaryDirectory(prefix="swarm-pg-") as folder:
        if user:
            shutil.chown(folder, user)
        data = f"{folder}/data"
        quiet: dict[str, Any] = {
            "user": user,
            "stdout": subprocess.DEVNULL,
            "stderr": subprocess.DEVNULL,
            "cwd": folder,
        }
        subprocess.run([binary("initdb") or "", "-D", data, "-A", "trust", "-U", USER], check=True, **quiet)
        server = subprocess.Popen([binary("postgres") or "", "-D", data, "-k", folder, "-h", "", "-p", PORT], **quiet)
        try:
            wait_for(Path(folder) / f".s.PGSQL.{PORT}")
            yield f"host={folder} port={PORT} user={USER} dbname=postgres"
        finally:
            server.terminate()
            server.wait()


def wait_for(path: Path) -> None:
    until = time.monotonic() + WAIT_S
    while not path.exists():
        if time.monotonic() > until:
            raise RuntimeError(f"{path} did not appear within {WAIT_S:.0f} s")
        time.sleep(0.05)


def app_of(dsn: str) -> Any:
    """The application with its one task; the library is an optional one."""
    import procrastinate  # noqa: PLC0415

    app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=dsn, min_size=4, max_size=20))

    @app.task(name="node")  # type: ignore[untyped-decorator, unused-ignore]
    async def node(graph: int, layer: int, layers: int, width: int, ready: float) -> None:
        began = time.time()
        row = await app.connector.execute_query_one_async(
            "WITH told AS (INSERT INTO bench_job (ready, started) VALUES (%(ready)s, %(began)s))"
            " UPDATE bench_layer SET open = open - 1 WHERE graph = %(graph)s AND layer = %(layer)s RETURNING open",
            ready=ready,
            began=began,
            graph=graph,
            layer=layer,
        )
        if row["open"] == 0 and layer + 1 < layers:
            await defer_layer(app, graph, layer + 1, layers, width)

    return app


async def defer_layer(app: Any, graph: int, layer: int, layers: int, width: int) -> None:
    """All jobs of one layer, in one statement."""
    now = time.time()
    job = {"graph": graph, "layer": layer, "layers": layers, "width": width, "ready": now}
    await app.configure_task("node").batch_defer_async(*[job] * width)


class Peer:
    """The worker process and a connection to file by."""

    def __init__(self, dsn: str, layers: int, width: int) -> None:
        self._dsn = dsn
        self._shape = layers, width
        self._graphs = 0
        self._app: Any = None

    async def __aenter__(self) -> Self:
        self._app = app_of(self._dsn)
        await self._app.open_async()
        await self._app.schema_manager.apply_schema_async()
        await self._app.connector.execute_query_async(TABLES)
        command = [sys.executable, "-m", "bench.procrastinate_peer", self._dsn]
        self._worker = subprocess.Popen(command, stderr=subprocess.DEVNULL)  # noqa: ASYNC220  # before anything runs
        return self

    async def __aexit__(self, *_: object) -> None:
        self._worker.kill()
        self._worker.wait()
        await self._app.close_async()

    async def stretch(self, graphs: int) -> tuple[float, list[float]]:
        """Seconds for so many graphs filed as fast as they are taken, and each job's latency in milliseconds."""
        before, began = await self._done(), time.perf_counter()
        layers, width = self._shape
        for _ in range(graphs):
            await self._file(layers, width)
        wanted = before + graphs * layers * width
        async with asyncio.timeout(WAIT_S + graphs):
            while await self._done() < wanted:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        taken = time.perf_counter() - began
        rows = await self._app.connector.execute_query_all_async(
            "SELECT (started - ready) * 1000 AS ms FROM bench_job ORDER BY id OFFSET %(before)s", before=before
        )
        return taken, [row["ms"] for row in rows]

    async def _file(self, layers: int, width: int) -> None:
        self._graphs += 1
        await self._app.connector.execute_query_async(
            "INSERT INTO bench_layer SELECT %(graph)s, layer, %(width)s FROM generate_series(0, %(last)s) AS layer",
            graph=self._graphs,
            width=width,
            last=layers - 1,
        )
        await defer_layer(self._app, self._graphs, 0, layers, width)

    async def _done(self) -> int:
        row = await self._app.connector.execute_query_one_async("SELECT count(*) AS n FROM bench_job")
        return int(row["n"])


async def work(dsn: str) -> None:
    app = app_of(dsn)
    async with app.open_async():
        await app.run_worker_async(concurrency=CONCURRENCY, wait=True, listen_notify=True, delete_jobs="never")


def main(argv: Sequence[str]) -> None:
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(work(argv[0]))


if __name__ == "__main__":
    main(sys.argv[1:])
