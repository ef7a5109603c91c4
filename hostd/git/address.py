"""Where an upstream repository is. What git could misread is refused here, before it comes near its arguments."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from hostd.errors import RepositoryRefusedError

_LONGEST = 2048
_HOST = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(\.(?!-)[A-Za-z0-9_-]{1,63})*\.?|\[[0-9A-Fa-f:.]+\]")
_NUMERIC = re.compile(r"[0-9]+|0[xX][0-9A-Fa-f]*")  # resolvers read 1, 0x7f.1 and 0177.1 as addresses
_USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._@+-]{0,99}")
_SCHEMES = ("http", "https", "ssh", "file")


@dataclass(frozen=True, slots=True)
class Address:
    """`url` goes to git as it is; `path` is set for a repository on this machine, and then is absolute."""

    scheme: str
    url: str
    path: str = ""


def parse(url: str, *, allow_file: bool = True) -> Address:
    """An http, https, ssh or file URL, or an absolute path. `RepositoryRefusedError` says what is wrong with it."""
    if not url or len(url) > _LONGEST:
        raise RepositoryRefusedError(f"repository URL of {len(url)} characters; 1 to {_LONGEST} are allowed")
    if not url.isprintable() or " " in url or "\\" in url:
        raise RepositoryRefusedError("repository URL holds a space, a backslash or a control character")
    if url.startswith("/"):
        return _local(url, allow_file=allow_file)
    scheme, separator, _ = url.partition("://")
    if not separator or scheme not in _SCHEMES:
        raise RepositoryRefusedError(f"{url[:80]!r} is none of http://, https://, ssh://, file:// or an absolute path")
    if scheme == "file":
        return _file(url, allow_file=allow_file)
    return _network(url)


def _file(url: str, *, allow_file: bool) -> Address:
    parts = urlsplit(url)
    if parts.netloc not in ("", "localhost") or parts.query or parts.fragment:
        raise RepositoryRefusedError("a file URL has the form file:///absolute/path")
    return _local(unquote(parts.path), allow_file=allow_file)


def _local(path: str, *, allow_file: bool) -> Address:
    if not allow_file:
        raise RepositoryRefusedError("repositories on the host's own disk are switched off (allow_file_repositories)")
    if not path.startswith("/") or not path.isprintable() or ".." in path.split("/"):
        raise RepositoryRefusedError("a repository path is absolute, printable and without ..")
    return Address("file", path, path)


def _network(url: str) -> Address:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise RepositoryRefusedError(f"repository URL: {error}") from None
    user, at, host = parts.netloc.rpartition("@")
    if at and not _USER.fullmatch(user):
        raise RepositoryRefusedError(
            "the user in a repository URL is a plain name; a password belongs into the host's git_credentials file"
        )
    name = host if port is None else host.rpartition(":")[0]
    if not _HOST.fullmatch(name) or port == 0:
        raise RepositoryRefusedError(f"{host[:80]!r} is not a host name with an optional port")
    if parts.query or parts.fragment or parts.path in ("", "/") or parts.path.lstrip("/").startswith("-"):
        raise RepositoryRefusedError("a repository URL ends with the path of the repository and has no ? or #")
    if ".." in unquote(parts.path).split("/"):
        raise RepositoryRefusedError("a repository path has no ..")
    _refuse_metadata(name)
    return Address(parts.scheme, url)


def _refuse_metadata(name: str) -> None:
    """Literal addresses that no forge has: link-local (cloud metadata), multicast, unspecified."""
    name = name.rstrip(".")
    try:
        address = ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        if _NUMERIC.fullmatch(name.rpartition(".")[2]):
            raise RepositoryRefusedError(f"{name} is no host name, and no address in its usual form") from None
        return
    plain = getattr(address, "ipv4_mapped", None) or address
    if plain.is_link_local or plain.is_multicast or plain.is_unspecified:
        raise RepositoryRefusedError(f"{name} is not an address that a repository can have")
