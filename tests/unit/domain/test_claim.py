from __future__ import annotations

import pytest

from controlplane.domain import bundle
from controlplane.domain.claim import blamed, is_external, lease_of
from controlplane.domain.manifest import ManifestError
from controlplane.errors import InvalidInput


def test_only_claims_are_external() -> None:
    assert is_external("ex_01j")
    assert not is_external("hs_ex_1")
    assert not is_external("")


@pytest.mark.parametrize(("asked", "ttl", "given"), [(0, 45, 60), (15, 45, 15), (3600, 45, 3600), (3, 3, 3)])
def test_a_lease_within_bounds_is_given(asked: float, ttl: float, given: float) -> None:
    assert lease_of(asked, ttl) == given


@pytest.mark.parametrize(("asked", "ttl"), [(14, 45), (2.9, 3), (3601, 45)])
def test_a_lease_out_of_bounds_is_refused(asked: float, ttl: float) -> None:
    with pytest.raises(InvalidInput):
        lease_of(asked, ttl)


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("tests_failed", "tests_failed"),
        ("upstream_down", "upstream_down"),
        ("host_stopping", "agent_crashed"),  # costs no try: not for a program to say
        ("violation", "agent_crashed"),
        ("made up", "agent_crashed"),
        ("", "agent_crashed"),
    ],
)
def test_a_program_says_only_what_is_its_to_say(said: str, kept: str) -> None:
    assert blamed(said) == kept


def test_an_external_agent_has_a_manifest_and_no_program() -> None:
    manifest = bundle.parse(b'{"name": "porter", "version": "1.0.0", "external": true}')
    assert (manifest.external, manifest.command) == (True, ())
    assert not bundle.parse(b'{"name": "porter", "version": "1.0.0"}').external


@pytest.mark.parametrize(
    ("fields", "pointer"),
    [
        ('"external": 1', "/external"),
        ('"external": true, "command": ["./run"]', "/command"),
        ('"external": true, "image": "x"', "/image"),
    ],
)
def test_what_an_external_agent_cannot_have_is_refused(fields: str, pointer: str) -> None:
    with pytest.raises(ManifestError) as refused:
        bundle.parse(f'{{"name": "porter", "version": "1.0.0", {fields}}}'.encode())
    assert refused.value.field == pointer
