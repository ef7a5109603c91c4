"""An agent that brings its own sandbox: here just a temporary folder. Run it beside `swarm up`.

    python examples/external_agent.py --state-dir STATE

It registers the external agent `porter` and then works on its tickets, one after the other:

    swarm ticket create 'Say hello' --project pj_1 --agent porter
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import io
import json
import subprocess
import tarfile
import tempfile
from pathlib import Path

from swarm_sdk import AlreadyExistsError, Client, ExternalWorker, SwarmError, Work

MANIFEST = {"name": "porter", "version": "1.0.0", "description": "Runs outside of Swarm's VMs.", "external": True}


def git(*arguments: str, cwd: Path) -> str:
    """Output of a git command that succeeds."""
    identity = ("-c", "user.name=Porter", "-c", "user.email=porter@localhost")
    return subprocess.run(
        ["git", *identity, *arguments], cwd=cwd, check=True, capture_output=True, text=True
    ).stdout.strip()


def change(work: Work, folder: Path) -> str:
    """The work itself, in a folder of our own; answers the commit that was pushed."""
    git("clone", "--quiet", work.claim.git_url, str(folder), cwd=folder.parent)
    (folder / f"{work.ticket.key}.md").write_text(f"# {work.ticket.spec.title}\n\n{work.ticket.spec.description}\n")
    git("add", "--all", cwd=folder)
    git("commit", "--quiet", f"--message={work.ticket.spec.title}", cwd=folder)
    git("push", "--quiet", cwd=folder)
    return git("rev-parse", "HEAD", cwd=folder)


async def run(work: Work) -> None:
    async with work:  # renews the lease until the block ends; an exception fails the attempt
        await work.log("cloning")
        head = ""
        if work.claim.git_url:
            with tempfile.TemporaryDirectory() as folder:
                head = await asyncio.to_thread(change, work, Path(folder, "checkout"))
        ticket = await work.succeed(head, "wrote a note")
    print(f"{ticket.key} is done")


def bundle() -> bytes:
    """A folder with nothing but its manifest, as a tar."""
    packed, manifest = io.BytesIO(), json.dumps(MANIFEST).encode()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        entry = tarfile.TarInfo("agent.json")
        entry.size = len(manifest)
        archive.addfile(entry, io.BytesIO(manifest))
    return packed.getvalue()


async def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--state-dir", default="/var/lib/swarm")
    arguments.add_argument("--once", action="store_true", help="End after one ticket.")
    chosen = arguments.parse_args()
    async with Client.from_environment(chosen.state_dir) as client:
        with contextlib.suppress(AlreadyExistsError):  # another version of this example was here
            await client.registry.publish(bundle())
        async for work in ExternalWorker(client, [str(MANIFEST["name"])], name="example").tickets():
            try:
                await run(work)
            except (SwarmError, subprocess.CalledProcessError) as error:
                print(f"{work.ticket.key}: {error}")
            if chosen.once:
                return


if __name__ == "__main__":
    asyncio.run(main())
