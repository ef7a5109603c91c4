"""Who really called, when a proxy did: X-Forwarded-For counts as far as trusted proxies have written it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final, TypeAlias

from controlplane.api.stages.identify import address_of

HEADER: Final = "x-forwarded-for"
MOST_HOPS: Final = 16

Address: TypeAlias = IPv4Address | IPv6Address
Network: TypeAlias = IPv4Network | IPv6Network


class Proxies:
    """`trusted` are addresses and networks such as 10.0.0.0/8; without any, every peer is who it is."""

    def __init__(self, trusted: Sequence[str] = ()) -> None:
        self._trusted: tuple[Network, ...] = tuple(ip_network(each) for each in trusted)

    def caller(self, peer: str, metadata: Mapping[str, str]) -> str:
        """The peer, in the form of gRPC such as "ipv4:1.2.3.4:0": the last that no trusted proxy stands for."""
        if not self._trusted or HEADER not in metadata:
            return peer
        found = address_in(peer)
        hops = metadata[HEADER].split(",")[-MOST_HOPS:]
        while found is not None and self._trusts(found) and hops:
            behind = parsed(hops.pop().strip())
            if behind is None:
                break
            found, peer = behind, as_peer(behind)
        return peer

    def _trusts(self, address: Address) -> bool:
        return any(address in network for network in self._trusted)


def as_peer(address: Address) -> str:
    return f"ipv6:[{address}]:0" if isinstance(address, IPv6Address) else f"ipv4:{address}:0"


@lru_cache(1024)
def address_in(peer: str) -> Address | None:
    """The address in what a transport says of its peer; None on a Unix socket."""
    return parsed(address_of(peer))


@lru_cache(1024)
def network_of(peer: str) -> str:
    """Whom a limit counts: an address, of IPv6 the network that one subscriber has, and "local" on a Unix socket."""
    found = address_in(peer)
    if isinstance(found, IPv6Address):
        return str(ip_network((found, 64), strict=False))
    return str(found or "local")


def parsed(text: str) -> Address | None:
    """An address without its port or zone; IPv4 in IPv6 is IPv4."""
    try:
        found = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return (found.ipv4_mapped or found) if isinstance(found, IPv6Address) else found
