"""Build steps that pyproject.toml cannot express: the Cython extensions and the generated proto modules."""

from __future__ import annotations

import runpy

from Cython.Build import cythonize
from setuptools import Extension, setup

# One place for compiler directives: C semantics throughout, because pointers are checked by hand where they enter.
DIRECTIVES = {
    "language_level": 3,
    "boundscheck": False,
    "wraparound": False,
    "cdivision": True,
    "initializedcheck": False,
}
FLAGS = ["-std=gnu11", "-O2", "-Wall", "-Wextra", "-Wno-unused-parameter", "-Wno-missing-field-initializers"]


def extensions() -> list[Extension]:
    """One extension per module of ext/; the generated C stays in build/."""
    modules = [
        Extension(f"ext.{name}", [f"ext/{name}.pyx"], extra_compile_args=FLAGS)
        for name in ("clock", "jsonreader", "jsontable", "jsonwriter", "netns", "snapshot", "spawn", "vmpool")
    ]
    built: list[Extension] = cythonize(modules, build_dir="build/cython", compiler_directives=DIRECTIVES)
    return built


runpy.run_path("proto/build.py")["build"]()  # before setup() looks for packages
setup(ext_modules=extensions())
