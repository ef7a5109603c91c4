"""What must never be committed."""

from __future__ import annotations

import re
from pathlib import Path

from detect_secrets.core.scan import scan_line
from detect_secrets.settings import transient_settings

from tests.style.tracked import ROOT, texts, tracked

# Assembled, so that this file does not contain what it looks for.
REGISTRY_ADDRESS = re.compile(r'"resolved":\s*"https?:|--(?:extra-)?index' + r"-url")
SECRET_PLUGINS = [
    {"name": name}
    for name in (
        "AWSKeyDetector",
        "AzureStorageKeyDetector",
        "GitHubTokenDetector",
        "GitLabTokenDetector",
        "JwtTokenDetector",
        "NpmDetector",
        "OpenAIDetector",
        "PrivateKeyDetector",
        "PypiTokenDetector",
        "SlackDetector",
        "StripeDetector",
    )
]
ALLOWED = re.compile(r"#\s*pragma: allowlist secret")


def test_no_generated_file() -> None:
    built = re.compile(r"(_pb2(_grpc)?\.pyi?|\.so|\.c|\.o|\.pyc)$")
    assert [str(path) for path in tracked() if built.search(str(path)) or "proto/gen/" in str(path)] == []


def test_no_path_of_this_machine() -> None:
    here = {str(ROOT), str(Path.home())} - {"/", "/root"}
    found = [name for name, text in texts().items() if any(f"{folder}/" in text for folder in here)]
    assert found == []


def test_no_registry_address() -> None:
    assert [name for name, text in texts().items() if REGISTRY_ADDRESS.search(text)] == []


def test_no_secret() -> None:
    with transient_settings({"plugins_used": SECRET_PLUGINS}):
        found = [
            f"{name}:{number} {secret.type}"
            for name, text in texts().items()
            for number, line in enumerate(text.splitlines(), 1)
            if not ALLOWED.search(line)
            for secret in scan_line(line)
        ]
    assert found == []
