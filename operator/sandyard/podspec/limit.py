"""A small language for bounds, read in two ways like `sandyard.podspec.schema`: checked here, and written as CEL.

What a limit looks at is an item of an object; what it goes by is a bound, a value under ``policy`` of the chart.
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final, Protocol

from sandyard.api import quantity

__all__ = ["PUBLIC", "AtMost", "Begins", "Leave", "Limit", "Listed", "Matched", "Most", "Peers", "Ports", "Ranges",
           "Share", "Words"]  # fmt: skip

# The entry that stands for every address outside `_PRIVATE`.
PUBLIC: Final = "public"
# Private, shared, loopback, link-local, benchmarking, multicast and reserved (IANA special-purpose
# registries); of IPv6, what is not global unicast, and in that what hides an IPv4 address.
_PRIVATE: Final = (
    "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
    "192.168.0.0/16", "198.18.0.0/15", "224.0.0.0/4", "240.0.0.0/4", "2001::/23", "2002::/16",
)  # fmt: skip
_GLOBAL_UNICAST: Final = "2000::/3"
_NAMESPACE: Final = "kubernetes.io/metadata.name"
_Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Limit(Protocol):
    """What an item may be within a bound."""

    def keeps(self, item: Any, bound: Any) -> bool:
        """Whether *item* is within *bound*."""

    def cel(self, item: str, bound: str) -> str:
        """The same as a CEL expression of two expressions."""

    def shown(self, item: Any) -> str:
        """*item* as a person reads it."""

    def shown_cel(self, item: str) -> str:
        """The same as a CEL expression."""


class _Plain:
    def shown(self, item: Any) -> str:
        return str(item)

    def shown_cel(self, item: str) -> str:
        return f"string({item})"


@dataclass(frozen=True)
class Leave(_Plain):
    """An item that is there only by leave: the bound is true."""

    def keeps(self, item: Any, bound: Any) -> bool:
        del item
        return bound is True

    def cel(self, item: str, bound: str) -> str:
        del item
        return bound


@dataclass(frozen=True)
class Listed(_Plain):
    """One of the bound's entries; anything where there is none, when *or_any*."""

    or_any: bool = False

    def keeps(self, item: Any, bound: Any) -> bool:
        return bool(item in bound or (self.or_any and not bound))

    def cel(self, item: str, bound: str) -> str:
        return f"{item} in {bound}" + (f" || {bound}.size() == 0" if self.or_any else "")


@dataclass(frozen=True)
class Matched(_Plain):
    """Text that one of the bound's regular expressions matches somewhere; any text where there is none."""

    def keeps(self, item: Any, bound: Any) -> bool:
        return not bound or any(re.search(pattern, item) for pattern in bound)

    def cel(self, item: str, bound: str) -> str:
        return f"{bound}.size() == 0 || {bound}.exists(e, {item}.matches(e))"


@dataclass(frozen=True)
class Begins(_Plain):
    """Text that begins as one of the bound's entries does."""

    def keeps(self, item: Any, bound: Any) -> bool:
        return str(item).startswith(tuple(bound))

    def cel(self, item: str, bound: str) -> str:
        return f"{bound}.exists(e, {item}.startsWith(e))"


@dataclass(frozen=True)
class Words(_Plain):
    """A word that the bound's entries let through.

    An entry is a word, its beginning with ``*`` after it, or a key without its value (``a`` for ``a=b``).
    What an entry after ``!`` covers, or has a part in, is refused whatever else is listed.

    Attributes
    ----------
    whole
        An item that stands for every word, so each entry after ``!`` has a part in it.
    """

    whole: str = ""

    def keeps(self, item: Any, bound: Any) -> bool:
        refused = [entry[1:] for entry in bound if entry.startswith("!")]
        if any(item == self.whole or _covers(entry, item) or entry.startswith(f"{item}=") for entry in refused):
            return False
        return any(_covers(entry, item) for entry in bound if not entry.startswith("!"))

    def cel(self, item: str, bound: str) -> str:
        lets = f"{bound}.exists(e, !e.startsWith('!') && {_covers_cel('e', item)})"
        refuses = f"{_covers_cel('e.substring(1)', item)} || e.startsWith('!' + {item} + '=')"
        if self.whole:
            refuses = f"{item} == '{self.whole}' || {refuses}"
        return f"{lets} && !{bound}.exists(e, e.startsWith('!') && ({refuses}))"


def _covers(entry: str, word: str) -> bool:
    if entry.endswith("*"):
        return word.startswith(entry[:-1])
    return word == entry or word.startswith(f"{entry}=")


def _covers_cel(entry: str, word: str) -> str:
    begins = f"{word}.startsWith({entry}.substring(0, {entry}.size() - 1))"
    return f"({entry}.endsWith('*') ? {begins} : {word} == {entry} || {word}.startsWith({entry} + '='))"


_PORTS: Final = Words("all")
_PEERS: Final = Words("*")


@dataclass(frozen=True)
class AtMost(_Plain):
    """A quantity that is no more than the bound's."""

    def keeps(self, item: Any, bound: Any) -> bool:
        return quantity.parse(item) <= quantity.parse(bound)

    def cel(self, item: str, bound: str) -> str:
        return f"quantity({item}).compareTo(quantity(string({bound}))) <= 0"


@dataclass(frozen=True)
class Most(_Plain):
    """A number that is no more than the bound; any number where that is 0."""

    def keeps(self, item: Any, bound: Any) -> bool:
        return bool(bound == 0 or item <= bound)

    def cel(self, item: str, bound: str) -> str:
        return f"({bound} == 0 || {item} <= {bound})"


@dataclass(frozen=True)
class Share:
    """Resources whose request is at least the bound's percentage of the limit.

    Attributes
    ----------
    default
        The request's share of the limit where there is none.
    """

    name: str
    default: Fraction

    def keeps(self, item: Any, bound: Any) -> bool:
        if self.name not in item:
            # The schema's default holds, for both.
            return True
        limit = quantity.parse(item[self.name])
        request = (item.get("requests") or {}).get(self.name)
        share = self.default * limit if request is None else quantity.parse(request)
        # CEL has these numbers as floats: what is as much is never less by the last digit.
        return bool(share * 100 * (1 + Fraction(1, 10**9)) >= limit * bound)

    def cel(self, item: str, bound: str) -> str:
        limit = f"quantity(string({item}.{self.name})).asApproximateFloat()"
        request = f"quantity(string({item}.requests.{self.name})).asApproximateFloat()"
        given = f"has({item}.requests) && has({item}.requests.{self.name})"
        share = f"({given} ? {request} : {limit} * {float(self.default)})"
        return f"{share} * 100.0000001 >= {limit} * double({bound})"

    def shown(self, item: Any) -> str:
        request = (item.get("requests") or {}).get(self.name, "no request")
        return f"{request} of {item[self.name]}"

    def shown_cel(self, item: str) -> str:
        given = f"has({item}.requests) && has({item}.requests.{self.name})"
        request = f"({given} ? string({item}.requests.{self.name}) : 'no request')"
        return f"{request} + ' of ' + string({item}.{self.name})"


@dataclass(frozen=True)
class Ranges(_Plain):
    """A range of addresses within one of the bound's; `PUBLIC` is every address that is not private."""

    def keeps(self, item: Any, bound: Any) -> bool:
        try:
            network = _plain(ipaddress.ip_network(item, strict=False))
        except ValueError:
            # What is no range is within none.
            return False
        return any(_public(network) if entry == PUBLIC else _within(network, ipaddress.ip_network(entry, strict=False))
                   for entry in bound)  # fmt: skip

    def cel(self, item: str, bound: str) -> str:
        private = f"{json.dumps(_PRIVATE)}.exists(p, {_contains('p', item)} || {_contains(item, 'p')})"
        ipv4 = f"cidr({item}).ip().family() == 4"
        public = f"!{private} && ({ipv4} || {_contains(repr(_GLOBAL_UNICAST), item)})"
        return f"{bound}.exists(e, e == '{PUBLIC}' ? {public} : {_contains('e', item)})"


def _contains(wide: str, narrow: str) -> str:
    """Whether one range holds another that has no host bits; to containsCIDR of some API servers none does."""
    longer = f"cidr({wide}).prefixLength() <= cidr({narrow}).prefixLength()"
    return f"({longer} && cidr({wide}).containsIP(cidr({narrow}).ip()))"


def _plain(network: _Network) -> _Network:
    """*network*; that of IPv4 where it is one of these in IPv6's form (the schema takes none, Python does)."""
    mapped = getattr(network.network_address, "ipv4_mapped", None)
    if mapped is None or network.prefixlen < 96:
        return network
    return ipaddress.ip_network(f"{mapped}/{network.prefixlen - 96}", strict=False)


def _public(network: _Network) -> bool:
    private = map(ipaddress.ip_network, _PRIVATE)
    if any(network.version == other.version and network.overlaps(other) for other in private):
        return False
    return network.version == 4 or _within(network, ipaddress.ip_network(_GLOBAL_UNICAST))


def _within(network: _Network, wide: _Network) -> bool:
    return network.version == wide.version and network.subnet_of(wide)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Ports:
    """A rule of an allow list whose ports (``443/TCP``; ``all`` without any) the bound's entries let through."""

    def keeps(self, item: Any, bound: Any) -> bool:
        return all(_PORTS.keeps(word, bound) for word in _port_words(item))

    def cel(self, item: str, bound: str) -> str:
        return f"{self._words(item)}.all(w, {_PORTS.cel('w', bound)})"

    def shown(self, item: Any) -> str:
        return f"{', '.join(_port_words(item))} of {item['cidr']}"

    def shown_cel(self, item: str) -> str:
        return f"{self._words(item)}.join(', ') + ' of ' + string({item}.cidr)"

    def _words(self, item: str) -> str:
        word = "string(p.port) + '/' + (has(p.protocol) ? string(p.protocol) : 'TCP')"
        return f"(has({item}.ports) ? {item}.ports.map(p, {word}) : ['{_PORTS.whole}'])"


def _port_words(rule: Mapping[str, Any]) -> list[str]:
    ports = rule.get("ports")
    return [_PORTS.whole] if ports is None else [f"{port['port']}/{port.get('protocol', 'TCP')}" for port in ports]


@dataclass(frozen=True)
class Peers:
    """A peer of the sandbox's own namespace, or of namespaces that the bound's entries let through by their names."""

    def keeps(self, item: Any, bound: Any) -> bool:
        return all(_PEERS.keeps(name, bound) for name in _namespaces(item))

    def cel(self, item: str, bound: str) -> str:
        return f"{self._names(item)}.all(n, {_PEERS.cel('n', bound)})"

    def shown(self, item: Any) -> str:
        return ", ".join("any namespace" if name == "*" else name for name in _namespaces(item))

    def shown_cel(self, item: str) -> str:
        return f"{self._names(item)}.map(n, n == '*' ? 'any namespace' : string(n)).join(', ')"

    def _names(self, item: str) -> str:
        selector = f"{item}.namespaceSelector"
        labels, expressions = f"{selector}.matchLabels", f"{selector}.matchExpressions"
        named = f"x.key == '{_NAMESPACE}' && x.operator == 'In'"
        return (
            f"(!has({selector}) ? [] : has({labels}) && '{_NAMESPACE}' in {labels} ? [{labels}['{_NAMESPACE}']] : "
            f"has({expressions}) && {expressions}.exists(x, {named}) ? "
            f"{expressions}.filter(x, {named})[0].values : ['*'])"
        )


def _namespaces(peer: Mapping[str, Any]) -> Sequence[str]:
    """Names of the namespaces that *peer* may be in, ``*`` where it does not say; none for the sandbox's own."""
    selector = peer.get("namespaceSelector")
    if selector is None:
        return []
    labels = selector.get("matchLabels") or {}
    if _NAMESPACE in labels:
        return [labels[_NAMESPACE]]
    for expression in selector.get("matchExpressions") or []:
        if expression["key"] == _NAMESPACE and expression["operator"] == "In":
            return list(expression.get("values") or ["*"])
    return ["*"]
