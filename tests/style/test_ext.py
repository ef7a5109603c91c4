"""The stubs describe the compiled modules, and the host daemon goes through them for all that they do."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

MODULES = [
    *("ext.clock", "ext.jsonreader", "ext.jsontable", "ext.jsonwriter", "ext.netns", "ext.snapshot", "ext.spawn"),
    "ext.vmpool",
]
VMM = re.compile(r"(.*/)?(qemu-(system|kvm)\S*|firecracker|jailer|cloud-hypervisor)")
COMMANDS = {"ip", "nsenter", "setpriv", "tc", "tunctl", "unshare"}
STARTERS = {
    *("run", "call", "check_call", "check_output", "Popen", "create_subprocess_exec", "create_subprocess_shell"),
    *("system", "popen", "posix_spawn", "posix_spawnp", "subprocess_exec", "subprocess_shell"),
    *(f"{kind}{how}" for kind in ("exec", "spawn") for how in ("l", "le", "lp", "lpe", "v", "ve", "vp", "vpe")),
}


AMBIGUOUS = {"run", "call", "system", "popen"}  # methods of our own may be called that
CYTHON = r".*\.__(pyx_capi|test|reduce_cython|setstate_cython)__"  # what Cython adds to each module and class


def test_stubs_describe_the_compiled_modules(root: Path, tmp_path: Path) -> None:
    allowed = tmp_path / "allowed"
    allowed.write_text(CYTHON)
    command = [
        sys.executable,
        "-m",
        "mypy.stubtest",
        "--allowlist",
        str(allowed),
        "--ignore-unused-allowlist",
        *MODULES,
    ]
    environment = os.environ | {"MYPYPATH": str(root), "MYPY_CACHE_DIR": str(tmp_path / "cache")}
    done = subprocess.run(command, cwd=root, env=environment, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def called(call: ast.Call) -> str:
    """The last name of what is called: `run` for `subprocess.run(...)`."""
    match call.func:
        case ast.Attribute(attr=name) | ast.Name(id=name):
            return name
    return ""


def owner(call: ast.Call) -> str:
    """The name before the last dot: `os` for `os.system(...)`."""
    match call.func:
        case ast.Attribute(value=ast.Name(id=name)):
            return name
    return ""


def words(call: ast.Call) -> list[str]:
    """The literal words of a call's arguments, those inside lists and command lines included."""
    texts = (node.value for node in ast.walk(call) if isinstance(node, ast.Constant))
    decoded = (text.decode() if isinstance(text, bytes) else text for text in texts)
    return [word for text in decoded if isinstance(text, str) for word in text.split()]


def forbidden_command(call: ast.Call) -> str:
    """The command among a starting call's words that ext is there for; asking a program for its version is allowed."""
    found = words(call) if called(call) in STARTERS else []
    wanted = [word for word in found if word.rpartition("/")[2] in COMMANDS or VMM.fullmatch(word)]
    return "" if not wanted or "--version" in found else wanted[0]


def imports(node: ast.AST) -> list[str]:
    """Names of the modules that a statement or an `import_module` call imports."""
    match node:
        case ast.Import(names=names):
            return [alias.name for alias in names]
        case ast.ImportFrom(module=str(module)):
            return [module]
        case ast.Call() if called(node) in {"import_module", "__import__"}:
            return words(node)[:1]
    return []


def starts(call: ast.Call, *, drives: bool) -> Iterator[str]:
    if command := forbidden_command(call):
        yield f"runs {command}"
    if drives and (called(call) in STARTERS - AMBIGUOUS or (owner(call) == "os" and called(call) in STARTERS)):
        yield f"starts a program by {called(call)}"
    if any(keyword.arg == "preexec_fn" for keyword in call.keywords):
        yield "uses preexec_fn"


def detours(source: str, *, drives: bool = False) -> Iterator[str]:
    """What a module of the host daemon does past ext; one that `drives` VMMs may start nothing at all."""
    banned = {"pyroute2", "subprocess"} if drives else {"pyroute2"}
    for node in ast.walk(ast.parse(source)):
        yield from (f"imports {name}" for name in imports(node) if name.split(".")[0] in banned)
        if isinstance(node, ast.Call):
            yield from (f"{what} in line {node.lineno}" for what in starts(node, drives=drives))


def test_the_host_daemon_goes_through_ext(root: Path) -> None:
    drivers = root / "hostd/drivers"  # the simulated one starts no VMM
    found = {
        f"{path.relative_to(root)}: {detour}"
        for path in sorted((root / "hostd").rglob("*.py"))
        for detour in detours(
            path.read_text(), drives=path.is_relative_to(drivers) and not path.is_relative_to(drivers / "sim")
        )
    }
    assert found == set()


@pytest.mark.parametrize(
    "source",
    [
        "import pyroute2.netns",
        "from pyroute2 import IPRoute",
        "importlib.import_module('pyroute2')",
        "subprocess.run(['ip', 'link', 'show'])",
        "await asyncio.create_subprocess_exec('/sbin/ip', 'netns', 'add', name)",
        "os.system(f'ip link del {name}')",
        "subprocess.Popen(['qemu-system-x86_64', '-M', 'microvm'])",
        "await run(['/usr/bin/firecracker', '--api-sock', path])",
        "os.posix_spawn('/usr/bin/qemu-system-x86_64', argv, {})",
        "Popen(argv, preexec_fn=setup)",
    ],
)
def test_detours_are_found(source: str) -> None:
    assert list(detours(source))


@pytest.mark.parametrize(
    "source", ["import subprocess", "await asyncio.create_subprocess_exec(*argv)", "os.system(command)"]
)
def test_a_driver_may_start_nothing_itself(source: str) -> None:
    assert list(detours(source, drives=True))
    assert not list(detours(source))


@pytest.mark.parametrize(
    "source",
    [
        "subprocess.run(['git', 'clone', url])",
        "subprocess.run(['qemu-system-x86_64', '--version'])",
        "fields = ['ip', 'mac']",
        "spawn.spawn([b'/usr/bin/qemu-system-x86_64'], [], uid=1, gid=1)",
        "from ext import netns",
    ],
)
def test_other_work_is_left_alone(source: str) -> None:
    assert not list(detours(source))


def test_a_driver_may_have_methods_of_such_names() -> None:
    assert not list(detours("await self.call(verb)\nawait call(port)\nplatform.system()", drives=True))
