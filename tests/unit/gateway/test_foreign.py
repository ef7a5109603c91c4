"""An API that nobody here has written compiles and serves, without protoc's Python modules."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.unit.gateway.compiled import PROTOS, descriptor_set, generate

SERVE = """
import sys
from controlplane.gateway.router import Router
from {name}.routes import ROUTES
from {name}.codecs import BY_NAME

router = Router(ROUTES)

def call(verb, path, query=(), body=b""):
    route, variables = router.match(verb, path)
    request = route.decode(variables, query, body)
    return route.method.rpartition(".")[2], str(request).split()

def new(kind, **fields):
    return BY_NAME["library.v1." + kind].new(**fields)

print([
    call("POST", "/v1/shelves", (), b'{{"theme": "x"}}'),
    call("GET", "/v1/shelves/1"),
    call("GET", "/v1/shelves/1/books", [("pageSize", "5")]),
    call("POST", "/v1/shelves/1:merge", (), b'{{"otherShelf": "shelves/2"}}'),
    call("PATCH", "/v1/shelves/1/books/2", (), b'{{"author": "a"}}'),
    call("DELETE", "/v1/shelves/1/books/2"),
    router.match("GET", "/v1/shelves/1")[0].encode(new("Shelf", name="shelves/1")),
    sorted(name for name in sys.modules if name.startswith(("swarm.", "aiohttp", "grpc"))),
])
"""


def test_a_library_compiles_and_serves(root: Path, tmp_path: Path) -> None:
    descriptor_set(PROTOS, tmp_path / "set", "library.proto")
    assert generate(tmp_path / "set", tmp_path / "library_http").returncode == 0
    command = [sys.executable, "-W", "error", "-c", SERVE.format(name="library_http")]
    environment = {"PYTHONPATH": f"{tmp_path}:{root}"}
    done = subprocess.run(command, env=environment, check=False, capture_output=True, text=True)
    assert done.stderr == ""
    assert eval(done.stdout) == [  # noqa: S307  # what the program above has printed
        ("CreateShelf", ["shelf", "{", "theme:", '"x"', "}"]),
        ("GetShelf", ["name:", '"shelves/1"']),
        ("ListBooks", ["parent:", '"shelves/1"', "page_size:", "5"]),
        ("MergeShelves", ["name:", '"shelves/1"', "other_shelf:", '"shelves/2"']),
        (
            "UpdateBook",
            [
                "book",
                "{",
                "name:",
                '"shelves/1/books/2"',
                "author:",
                '"a"',
                "}",
                "update_mask",
                "{",
                "paths:",
                '"author"',
                "}",
            ],
        ),
        ("DeleteBook", ["name:", '"shelves/1/books/2"']),
        b'{"name":"shelves/1","theme":""}',
        [],
    ]


def test_output_is_the_same_each_time(tmp_path: Path) -> None:
    descriptor_set(PROTOS, tmp_path / "set", "library.proto", "service.proto")
    files = []
    for name in ("first", "second"):
        assert generate(tmp_path / "set", tmp_path / name).returncode == 0
        found = sorted((tmp_path / name).rglob("*.*"))
        files.append({str(path.relative_to(tmp_path / name)): path.read_bytes() for path in found})
    assert files[0] == files[1]
    assert json.loads(files[0]["openapi.json"])["openapi"] == "3.1.0"


def test_a_folder_that_cannot_be_written_is_said_in_one_line(tmp_path: Path) -> None:
    descriptor_set(PROTOS, tmp_path / "set", "library.proto")
    (tmp_path / "taken").touch()
    said = generate(tmp_path / "set", tmp_path / "taken")
    assert (said.returncode, said.stderr.count("\n")) == (1, 1)
    assert str(tmp_path / "taken") in said.stderr
