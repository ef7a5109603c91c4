"""A hostd as a process of its own, as operators run it."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

from tests.fakes.control_plane import TOKEN

ROOT = Path(__file__).resolve().parents[2]


class HostProcess:
    """`python -m hostd` with simulated VMs in `state_dir`."""

    def __init__(self, state_dir: Path, control: str, *options: str, instance: str = "default") -> None:
        self.state_dir = state_dir
        self.log = state_dir.parent / f"{state_dir.name}.log"
        self._argv = [
            sys.executable, "-m", "hostd", "--state-dir", str(state_dir), "--control", control,
            "--instance", instance, "--driver", "sim", "--stats-every-s", "0.2", *options,
        ]  # fmt: skip
        self.process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int:
        assert self.process
        return self.process.pid

    async def start(self, *, token: str = TOKEN, **environment: str) -> HostProcess:
        self.state_dir.mkdir(mode=0o755, exist_ok=True)
        file = self.state_dir / "host.token"
        file.write_text(token + "\n", encoding="ascii")
        file.chmod(0o600)
        env = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'proto' / 'gen'}", **environment}
        with self.log.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                *self._argv, env=env, cwd=ROOT, stdout=log, stderr=log, start_new_session=True
            )
        return self

    async def wait(self) -> int:
        assert self.process
        async with asyncio.timeout(60):
            return await self.process.wait()

    async def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        assert self.process
        if self.process.returncode is None:
            self.process.send_signal(number)
        return await self.wait()

    def words(self) -> str:
        return self.log.read_text(encoding="utf-8")
