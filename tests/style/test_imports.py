"""Import rules that import-linter cannot express: who may import the standard library only."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest


def imported(source: str) -> Iterator[str]:
    """Absolute names of the modules that a source text imports; relative imports as they stand."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield "." * node.level + (node.module or "")


def foreign(source: str, package: str) -> list[str]:
    """Imports of anything but the standard library and the package itself, which has no packages inside."""
    return [
        name
        for name in imported(source)
        if name.split(".")[0] not in sys.stdlib_module_names
        and not f"{name}.".startswith(f"{package}.")
        and (not name.startswith(".") or name.startswith(".."))
    ]


# The error tree is data of the domain too; it stands beside it because every layer raises from it.
@pytest.mark.parametrize(
    ("package", "besides"),
    [("controlplane.domain", {"controlplane.errors"}), ("hostd.guest", set()), ("ext", set())],
)
def test_package_imports_the_standard_library_only(root: Path, package: str, besides: set[str]) -> None:
    found = {
        str(path.relative_to(root)): names
        for path in sorted((root / package.replace(".", "/")).rglob("*.py"))
        if (names := set(foreign(path.read_text(), package)) - besides)
    }
    assert found == {}


def test_error_tree_imports_the_standard_library_only(root: Path) -> None:
    assert foreign((root / "controlplane/errors.py").read_text(), "controlplane.errors") == []


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import json\nfrom a.b import c\nfrom a.b.d import e", []),
        ("from . import d\nfrom .d import e", []),
        ("import grpc", ["grpc"]),
        ("from a import x", ["a"]),
        ("from a.bc import x", ["a.bc"]),
        ("def f():\n    from .. import x", [".."]),
    ],
)
def test_foreign_imports_are_found(source: str, expected: list[str]) -> None:
    assert foreign(source, "a.b") == expected
