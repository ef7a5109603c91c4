"""What every Python that is served does alike: 3.11.2, which is Debian 12's, up to the newest."""

from __future__ import annotations

import ast

from tests.style.tracked import texts


def test_no_group_clause_raises() -> None:
    """Before Python 3.11.4 what an `except*` raises arrives as a group, which nobody catches by its name."""
    for name, text in texts().items():
        nodes = ast.walk(ast.parse(text)) if name.endswith(".py") else ()
        clauses = [clause for node in nodes if isinstance(node, ast.TryStar) for clause in node.handlers]
        assert not [inner for clause in clauses for inner in ast.walk(clause) if isinstance(inner, ast.Raise)], name
