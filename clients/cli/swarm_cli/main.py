"""Entry point of `swarm`."""

from __future__ import annotations

import importlib

import click

# One module per command or group; a module is imported only when its command is asked for, so that `swarm` starts fast.
COMMANDS = {
    "up": "Start the control plane and a host on this machine.",
    "down": "Stop what `up` started.",
    "doctor": "Check this machine and say what to do.",
    "status": "What runs, what waits, and why.",
    "failures": "Count failed attempts by cause, host and agent.",
    "run": "Turn a spec card into pull requests.",
    "run-ticket": "Release or retry one ticket and wait for it.",
    "ticket": "File, list, follow and answer tickets.",
    "project": "Create and list projects.",
    "engine": "Start, stop and watch the coordinator.",
    "pr": "List, read and merge pull requests.",
    "host": "List, cordon and drain hosts.",
    "vm": "List, boot and control microVMs.",
    "agent": "Make, test, publish and list agents; see those that run.",
    "workflow": "Run, publish and list workflows.",
    "image": "Build and list VM images.",
    "template": "Bake, list and verify VM templates.",
    "login": "Log in.",
    "logout": "Log out.",
    "whoami": "Show who you are here.",
    "key": "Create, list and revoke API keys.",
    "profile": "Change your name and picture.",
    "notifications": "Read what you are told, and choose where.",
    "admin": "Manage users, tenants and the deployment.",
    "cleanup": "Remove what nothing owns any more.",
    "backup": "Save everything into one file, or check one.",
    "restore": "Begin anew from a backup.",
    "audit": "See who did what, and whether the log is what was written.",
    "bench": "Run the benches.",
}


class Lazy(click.Group):
    """Finds commands by module name."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  # click's signature
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"swarm_cli.commands.{cmd_name.replace('-', '_')}")
        found = module.cli
        if not isinstance(found, click.Command):
            raise TypeError(f"{cmd_name}: no command in its module")
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


EXAMPLES = (
    "\b\nExamples:\n  swarm up\n  swarm run --spec card.json --repo /srv/git/project.git --follow\n"
    "  swarm pr list\n  swarm pr merge TKT-002"
)


@click.command(cls=Lazy, context_settings={"help_option_names": ["-h", "--help"]}, epilog=EXAMPLES)
@click.version_option(package_name="swarm")
def main() -> None:
    """Many coding agents side by side, each in its own microVM: 1 ticket = 1 agent = 1 VM = 1 pull request."""


if __name__ == "__main__":
    main()
