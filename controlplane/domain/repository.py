"""Repository URLs and branch names: what may reach git at all. Pure text; nothing is resolved or contacted here."""

from __future__ import annotations

import ipaddress
import re
from typing import Final
from urllib.parse import SplitResult, unquote, urlsplit

from controlplane.errors import InvalidInput

MAX_URL: Final = 2048
MAX_BRANCH: Final = 255
_HOST: Final = re.compile(r"[a-z0-9]([a-z0-9_-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9_-]*[a-z0-9])?)*")
_NUMERIC_LABEL: Final = re.compile(r"[0-9]+|0x[0-9a-f]*")
_USER: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")
_FORBIDDEN_IN_REF: Final = re.compile(r"[\x00-\x20\x7f-\x9f~^:?*\[\\]|\.\.|@\{|//|/$|\.$|\.lock(/|$)|(^|/)\.")
# Instance metadata services; the link-local addresses among them are refused as such.
_METADATA: Final = frozenset({"metadata", "metadata.google.internal", "metadata.goog", "instance-data"})
_METADATA_ADDRESSES: Final = frozenset({"100.100.100.200", "192.0.0.192", "fd00:ec2::254"})


def check_repository(url: str, *, allow_file: bool) -> None:
    """InvalidInput (reason bad_repository) unless it is an http(s) or ssh URL, or a local one where that is allowed."""
    if fault := repository_fault(url, allow_file=allow_file):
        raise InvalidInput(f"repository: {fault}", reason="bad_repository")


def check_branch(name: str) -> None:
    """InvalidInput (reason bad_ref) unless git would take it as a branch name and nobody as an option."""
    if fault := branch_fault(name):
        raise InvalidInput(f"branch: {fault}", reason="bad_ref")


def branch_fault(name: str) -> str:
    """What is wrong with a branch name; empty: nothing. The rules of git check-ref-format and a few more."""
    if not name or len(name) > MAX_BRANCH:
        return f"must have 1 to {MAX_BRANCH} characters"
    if name.startswith(("-", "/", "refs/")) or name in {"@", "HEAD"}:
        return "must not begin with '-', '/' or 'refs/', nor be '@' or 'HEAD'"
    if match := _FORBIDDEN_IN_REF.search(name):
        return f"must not contain {match[0]!r}"
    return "" if name.isprintable() else "must not contain control or format characters"


def repository_fault(url: str, *, allow_file: bool) -> str:
    """What is wrong with a repository URL; empty: nothing."""
    if not url or len(url) > MAX_URL:
        return f"must have 1 to {MAX_URL} characters"
    if not url.isprintable() or "\\" in url:
        return "must not contain control characters or backslashes"
    scheme, separator, _ = url.partition("://")
    if url.startswith("/") or (scheme == "file" and separator):
        return _local_fault(url) if allow_file else "local repositories are not allowed here"
    if scheme not in {"http", "https", "ssh"} or not separator:
        return "must be an http://, https://, ssh:// or file:// URL, or an absolute path"
    return _network_fault(url)


def _local_fault(url: str) -> str:
    if url.startswith("/"):
        return _path_fault(url)
    parts = urlsplit(url)
    if parts.netloc or parts.query or parts.fragment:
        return "a file URL is file:///absolute/path and nothing more"
    return _path_fault(unquote(parts.path))


def _network_fault(url: str) -> str:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        return str(error)
    if not url.isascii() or " " in url:
        return "must be ASCII without spaces; write anything else as %XX"
    if port == 0 or parts.query or parts.fragment:
        return "must not have port 0, a query or a fragment"
    user_fault = _user_fault(parts)
    host_fault = _host_fault(parts.hostname or "", bracketed="[" in parts.netloc)
    option = any(part.startswith("-") for part in unquote(parts.path).split("/"))
    return user_fault or host_fault or _path_fault(unquote(parts.path)) or ("has an option-like path" if option else "")


def _user_fault(parts: SplitResult) -> str:
    if parts.password is not None or (parts.username is not None and parts.scheme != "ssh"):
        return "must not hold credentials; put them into the hosts' credentials file"
    if parts.username is not None and not _USER.fullmatch(parts.username):
        return "has a user name that ssh could take for an option"
    return ""


def _path_fault(path: str) -> str:
    if not path.startswith("/") or not path.strip("/"):
        return "must name a path"
    if not path.isprintable():
        return "must not contain control characters"
    return "must not have '.' or '..' in its path" if {".", ".."} & set(path.split("/")) else ""


def _host_fault(host: str, *, bracketed: bool) -> str:
    if bracketed:
        return _address_fault(host)
    if len(host) > 253 or not _HOST.fullmatch(host):  # noqa: PLR2004 - the limit of DNS
        return f"{host!r} is no host name"
    if host in _METADATA:
        return f"{host} is an instance metadata service"
    # Resolvers read 1, 0x7f.1 and 0177.0.0.1 as addresses; only the one usual spelling is accepted.
    if _NUMERIC_LABEL.fullmatch(host.rsplit(".", 1)[-1]):
        return _address_fault(host)
    return ""


def _address_fault(host: str) -> str:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return f"{host!r} is no address"
    mapped = getattr(address, "ipv4_mapped", None) or getattr(address, "sixtofour", None) or address
    if mapped.is_link_local or mapped.is_multicast or mapped.is_unspecified:
        return f"{host} is not an address of a repository server"
    return f"{host} is an instance metadata service" if str(mapped) in _METADATA_ADDRESSES else ""
