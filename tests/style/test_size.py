from __future__ import annotations

import ast

from tests.style.tracked import product

MODULE_LINES = 500
FUNCTION_LINES = 50


def test_modules_are_short() -> None:
    lengths = {name: len(text.splitlines()) for name, text in product(".py", ".pyx", ".ts", ".tsx").items()}
    assert {name: lines for name, lines in lengths.items() if lines > MODULE_LINES} == {}


def test_functions_are_short() -> None:
    long = {
        f"{name}:{node.lineno} {node.name}": lines
        for name, text in product(".py").items()
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (lines := (node.end_lineno or node.lineno) - node.lineno + 1) > FUNCTION_LINES
    }
    assert long == {}


def test_modules_postpone_annotations() -> None:
    """One meaning of annotations everywhere; files without code (package docstrings) need none."""
    missing = [
        name
        for name, text in product(".py").items()
        if any(not isinstance(node, ast.Expr) for node in ast.parse(text).body)
        and "from __future__ import annotations" not in text
    ]
    assert missing == []
