from __future__ import annotations

from controlplane.api.methods import methods, services
from controlplane.api.table import PAGE, written


def test_the_page_lists_every_method_with_its_policy() -> None:
    """After a change of a proto: python -m controlplane.api.table"""
    page = PAGE.read_text(encoding="utf-8")
    assert page == written(page)
    names = [name.rpartition(".")[2] for name in methods(services()) if "hostlink" not in name]
    assert [f"| `{name}` |" in page for name in names] == [True] * len(names)
