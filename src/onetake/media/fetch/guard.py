"""Connections to public addresses only."""

import ipaddress
import socket
from urllib.parse import urlsplit

from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

# The registry counts these as global, but they are not public: IPv4 inside IPv6 (compatible, NAT64,
# Teredo, 6to4), the old site-local range, and the address of Azure's metadata host.
_NOT_PUBLIC = [
    ipaddress.ip_network(text)
    for text in ("::/96", "64:ff9b::/96", "2001::/32", "2002::/16", "fec0::/10", "168.63.129.16/32")
]
_UNKNOWN_HOST = "its URL's host is not known; check it"


class UrlError(Exception):
    """A URL that is not followed, and why. It is no ``OSError``, which requests would wrap."""

    def __init__(self, problem: str, *, code: str) -> None:
        super().__init__(problem)
        self.problem = problem
        self.code = code


def check_scheme(url: str) -> None:
    """Accept a URL of http or https.

    Raises:
        UrlError: it cannot be read as a URL, or is a redirect that leaves http.
    """
    try:
        parts = urlsplit(url)
        scheme, _ = parts.scheme, parts.port  # reading a broken port raises
    except ValueError:
        raise UrlError(_UNKNOWN_HOST, code="input_unreachable") from None
    if scheme not in {"http", "https"}:
        raise UrlError("its URL redirects away from http; give the last one", code="invalid_input")


class _PublicConnection(HTTPConnection):
    """Looks its host up once, and connects to one of the addresses if all of them are public."""

    # urllib3's own SOCKS connection overrides the same method. The check and the connection use one
    # answer, so a name server that changes it in between changes nothing.
    def _new_conn(self) -> socket.socket:
        try:
            hits = socket.getaddrinfo(self._dns_host, self.port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            raise UrlError(_UNKNOWN_HOST, code="input_unreachable") from None
        if not all(_is_public(str(address[0])) for *_, address in hits):
            problem = "its URL leads to a private address; give a public one"
            raise UrlError(problem, code="input_forbidden")
        failure = OSError("no address")
        for family, kind, protocol, _, address in hits:
            try:
                return _connected(socket.socket(family, kind, protocol), address, self.timeout)
            except OSError as error:  # nobody answers, or this machine has no IPv6
                failure = error
        raise failure


class _PublicTLSConnection(_PublicConnection, HTTPSConnection):
    """The same under TLS, where name and certificate are still the host's."""


class _PublicPool(HTTPConnectionPool):
    ConnectionCls = _PublicConnection


class _PublicTLSPool(HTTPSConnectionPool):
    ConnectionCls = _PublicTLSConnection


def public_adapter() -> HTTPAdapter:
    """An adapter that connects to public addresses only."""
    adapter = HTTPAdapter()
    adapter.poolmanager.pool_classes_by_scheme = {"http": _PublicPool, "https": _PublicTLSPool}
    return adapter


def _connected(
    opened: socket.socket, address: tuple[object, ...], timeout: float | None
) -> socket.socket:
    try:
        opened.settimeout(timeout)
        opened.connect(address)
    except OSError:
        opened.close()
        raise
    return opened


def is_public_host(host: str) -> bool:
    """Whether all addresses that ``host`` has now are on the public internet."""
    try:
        hits = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return False
    return all(_is_public(str(address[0])) for *_, address in hits)


def _is_public(address: str) -> bool:
    """Whether ``address`` is on the public internet, and hides no other address."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    excluded = any(ip in network for network in _NOT_PUBLIC if network.version == ip.version)
    return ip.is_global and not (ip.is_multicast or excluded)
