from __future__ import annotations

import asyncio
import os

import pytest

from hostd.broker.scanner import ScanError, scan_apart
from hostd.git.scan import scan

HEAD = b"commit " + b"a" * 40 + b"\n\ndiff --git a/a.py b/a.py\n--- a/a.py\n+++ b/a.py\n@@ -0,0 +1,9 @@\n"
SLOW = b"+" + b'execute("SELECT a FROM ' * 170 + b"\n"


async def test_a_scan_apart_finds_what_a_scan_finds() -> None:
    patch = HEAD + b"+eval(input())\n" * 3 + b"+x = '" + b"AKIA" + b"QWERTYUIOPASDFGH'\n"
    assert await scan_apart(patch) == scan(patch) != []


async def test_a_patch_that_takes_too_long_is_refused_and_holds_nobody_up() -> None:
    began, turns = asyncio.get_running_loop().time(), 0
    scanning = asyncio.create_task(scan_apart(HEAD + SLOW * 1000, cpu_s=1))
    while not scanning.done():
        await asyncio.sleep(0.01)
        turns += 1
    with pytest.raises(ScanError, match="push less"):
        await scanning
    assert turns > 10 or asyncio.get_running_loop().time() - began < 0.1


async def test_a_scan_that_nobody_waits_for_any_more_leaves_no_process() -> None:
    scanning = asyncio.create_task(scan_apart(HEAD + SLOW * 1000))
    await asyncio.sleep(0.1)
    scanning.cancel()
    with pytest.raises(asyncio.CancelledError):
        await scanning
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)  # noqa: ASYNC222 - it does not wait
