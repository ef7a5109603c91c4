"""Every rule that an API can break, with what the generator says."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import pytest
from google.protobuf.compiler.plugin_pb2 import CodeGeneratorRequest, CodeGeneratorResponse

from controlplane.gateway.generate import plugin
from tests.unit.gateway.compiled import descriptor_set, generate

FILE = """
syntax = "proto3";
package bad.v1;
import "google/api/annotations.proto";
import "google/protobuf/struct.proto";
service Bad {{
  rpc Call(Request) returns (Answer) {{ option (google.api.http) = {{ {rule} }}; }}
  rpc Other(Request) returns (Answer) {{ option (google.api.http) = {{ {other} }}; }}
}}
message Request {{
  string id = 1;
  Inner inner = 2;
  repeated string many = 3;
  map<string, string> pairs = 4;
  google.protobuf.Struct free = 5;
}}
message Inner {{ string name = 1; }}
message Answer {{ string text = 1; }}
"""
OTHER = 'get: "/other"'


def said(tmp_path: Path, rule: str, other: str = OTHER) -> str:
    """What the command says of an API with this rule; it fails."""
    (tmp_path / "bad.proto").write_text(FILE.format(rule=rule, other=other))
    descriptor_set(tmp_path, tmp_path / "set", "bad.proto")
    done = generate(tmp_path / "set", tmp_path / "out")
    assert done.returncode == 1
    assert not (tmp_path / "out").exists()
    return done.stderr


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        ('get: "/a/{nothing}"', "the variable 'nothing' of '/a/{nothing}' is no field of bad.v1.Request"),
        ('get: "/{inner.no}"', "the variable 'inner.no' of '/{inner.no}' is no field of bad.v1.Request"),
        ('get: "/a/{id.x}"', "the variable 'id.x' of '/a/{id.x}' leads through something that is no message"),
        ('get: "/a/{many}"', "the variable 'many' of '/a/{many}' is a repeated field"),
        ('get: "/a/{inner}"', "the variable 'inner' of '/a/{inner}' is a message"),
        ('get: "/a/{free}"', "the variable 'free' of '/a/{free}' is a message"),
        ('get: "/a/{pairs}"', "the variable 'pairs' of '/a/{pairs}' is a repeated field"),
        ('get: "/a" body: "*"', "a GET has no body, and body is '*'"),
        ('delete: "/a" body: "inner"', "a DELETE has no body, and body is 'inner'"),
        ('post: "/a" body: "nothing"', "body 'nothing' is no field of bad.v1.Request"),
        ('post: "/a" body: "inner.name"', "body 'inner.name' is no field of bad.v1.Request"),
        ('post: "/a/{id}" body: "id"', "body 'id' is a variable of the path too"),
        ('get: "/a" response_body: "nothing"', "response_body 'nothing' is no field of bad.v1.Answer"),
        ('get: "a"', "the template 'a' does not start with /"),
        ('get: "/a/**/b"', "the template '/a/**/b' has ** before its end"),
        ('get: "/a/{id}/{id}"', "the template '/a/{id}/{id}' binds a variable twice"),
        ('get: "/a/{id"', "the template '/a/{id' has braces that do not pair"),
        ('body: "*"', "the rule has no pattern: get, put, post, delete, patch or custom"),
        ('custom {kind: "A B" path: "/a"}', "the custom kind 'A B' is no HTTP method"),
        (
            'get: "/a" additional_bindings {get: "/b" additional_bindings {get: "/c"}}',
            "has additional_bindings inside of additional_bindings",
        ),
        ('get: "/a" additional_bindings {get: "/b/{x}"}', "the variable 'x' of '/b/{x}' is no field of bad.v1.Request"),
    ],
)
def test_a_broken_rule_is_named(tmp_path: Path, rule: str, text: str) -> None:
    assert said(tmp_path, rule) == f"bad.proto: bad.v1.Bad.Call: {text}\n"


@pytest.mark.parametrize(
    ("rule", "other"),
    [
        ('get: "/a/{id}"', 'get: "/a/*"'),
        ('get: "/a/{id=x/*}"', 'get: "/a/x/{inner.name}"'),
        ('get: "/a/{id=**}:v"', 'get: "/a/**:v"'),
        ('get: "/a"', 'get: "/b" additional_bindings {get: "/a"}'),
    ],
)
def test_equal_routes_are_named(tmp_path: Path, rule: str, other: str) -> None:
    text = said(tmp_path, rule, other)
    assert text.startswith("bad.proto: bad.v1.Bad.Other: GET /")
    assert "is as specific as" in text
    assert "of bad.v1.Bad.Call" in text


def test_all_faults_are_named_at_once(tmp_path: Path) -> None:
    assert len(said(tmp_path, 'get: "x"', 'get: "/{y}"').splitlines()) == 2


STRICT = """
syntax = "proto3";
package strict.v1;
import "google/api/annotations.proto";
import "swarm/options/v1/options.proto";
service Strict {{
  rpc Call(Empty) returns (Empty) {{ {options} }}
}}
message Empty {{}}
"""
ROUTE = 'option (google.api.http) = {get: "/a"};'
POLICY = "option (swarm.options.v1.policy) = {{role: {}}};"


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (ROUTE, "strict.proto: strict.v1.Strict.Call: there is no policy\n"),
        (POLICY.format("ROLE_VIEWER"), "strict.proto: strict.v1.Strict.Call: there is no google.api.http rule\n"),
        (POLICY.format("ROLE_HOST"), ""),
        (ROUTE + POLICY.format("ROLE_VIEWER"), ""),
    ],
)
def test_strict_wants_routes_and_policies(root: Path, tmp_path: Path, options: str, text: str) -> None:
    (tmp_path / "swarm").symlink_to(root / "proto/swarm")
    (tmp_path / "strict.proto").write_text(STRICT.format(options=options))
    descriptor_set(tmp_path, tmp_path / "set", "strict.proto")
    done = generate(tmp_path / "set", tmp_path / "out", "--strict")
    assert done.returncode == (1 if text else 0)
    # What is meant to have no route is no news.
    assert done.stderr == text


def test_it_is_a_plugin_too(tmp_path: Path) -> None:
    """A fault is protoc's to report, and makes protoc fail."""
    request = CodeGeneratorRequest(file_to_generate=["bad.proto"])
    for rule, wanted in (('get: "/a/{id}"', ""), ('get: "a"', "does not start with /")):
        (tmp_path / "bad.proto").write_text(FILE.format(rule=rule, other=OTHER))
        del request.proto_file[:]
        request.proto_file.extend(descriptor_set(tmp_path, tmp_path / "set", "bad.proto").file)
        command = [sys.executable, "-m", "controlplane.gateway.generate"]
        done = subprocess.run(command, input=request.SerializeToString(), check=True, capture_output=True)
        response = CodeGeneratorResponse.FromString(done.stdout)
        assert wanted in response.error
        assert bool(response.file) is not bool(wanted)


def test_a_plugin_knows_its_options() -> None:
    response = plugin.answer(CodeGeneratorRequest(parameter="strict,title=X,nothing"), io.StringIO())
    assert response.error == "unknown options: nothing"


@pytest.mark.parametrize("content", [b"\xff\xff", None])
def test_what_is_no_descriptor_set_is_refused(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "set").write_bytes(content)
    done = generate(tmp_path / "set", tmp_path / "out")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
