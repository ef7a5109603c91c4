from __future__ import annotations

from pathlib import Path

from controlplane.gateway.generate.reference import markdown


def test_the_error_reference_is_that_of_the_code(root: Path) -> None:
    """Renewed by `python -m controlplane.gateway.generate.reference > docs/errors.md`."""
    assert (root / "docs/errors.md").read_text() == markdown()
