"""Which proxy of the environment stands before the API server."""

from __future__ import annotations

import os
from collections.abc import Iterator
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from urllib.parse import SplitResult, urlsplit, urlunsplit
from urllib.request import getproxies_environment, proxy_bypass

from edgesmith.cluster.errors import Unreachable


def proxy_of(server: str, named: str | None = None) -> str | None:
    """The proxy for an API server's address, as kubectl chooses it; None: there is none before it.

    It is the kubeconfig's, else HTTPS_PROXY or HTTP_PROXY by the address's scheme. None of these is asked for this
    machine's own addresses, nor for what NO_PROXY names: hosts, domains, addresses and networks in CIDR notation
    (https://pkg.go.dev/golang.org/x/net/http/httpproxy).

    Args:
        server: The API server's address.
        named: What the kubeconfig says.

    Raises:
        Unreachable: The proxy is of a kind that the client does not know, SOCKS for example.
    """
    address = urlsplit(server)
    found = named or (None if _is_direct(address) else getproxies_environment().get(address.scheme))
    if found is None:
        return None
    proxy = urlsplit(found if "://" in found else f"http://{found}")
    if proxy.scheme not in {"http", "https"} or not proxy.hostname:
        said = urlunsplit(proxy._replace(netloc=proxy.netloc.rpartition("@")[2]))
        raise Unreachable(f"No cluster: the proxy before {server} is {said}; expected http://HOST:PORT")
    return urlunsplit(proxy)


def _is_direct(address: SplitResult) -> bool:
    host = address.hostname or ""
    if host == "localhost" or proxy_bypass(address.netloc):
        return True
    try:
        found = ip_address(host)
    except ValueError:
        return False
    return found.is_loopback or any(found in network for network in _networks())


def _networks() -> Iterator[IPv4Network | IPv6Network]:
    """What NO_PROXY names in CIDR notation, which Python's own function does not know."""
    for entry in (os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or "").split(","):
        try:
            yield ip_network(entry.strip(), strict=False)
        except ValueError:
            continue
