"""Which addresses may be called: decided about the address that is connected to, not about the name.

Law: a name is looked up once, each of its addresses is checked, and the connection goes to one that was checked. So a
name that answers differently the second time gains nothing.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from durable.errors import InvalidInput
from durable_dag.errors import EgressDenied

__all__ = ["EgressPolicy"]

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

# Where clouds hand out credentials to whoever asks from inside.
_METADATA: Final = tuple(
    ipaddress.ip_network(text)
    for text in ("169.254.0.0/16", "fe80::/10", "fd00:ec2::254/128", "100.100.100.200/32", "192.0.0.192/32")
)
_METADATA_NAMES: Final = frozenset({"metadata", "metadata.google.internal", "instance-data"})
_NAT64: Final = ipaddress.ip_network("64:ff9b::/96")


@dataclass(frozen=True)
class EgressPolicy:
    """What steps and webhooks may connect to.

    Attributes:
        allow: Hosts (``"api.example.com"``, ``".example.com"`` for all under it) and networks (``"10.1.0.0/16"``); if
            there are any, nothing else may be called, and they may be private.
        deny: Likewise; these never may.
        private: Whether private and loopback addresses may be called. They may by default, because a workflow's
            services usually stand in the house; say False where definitions come from strangers.
        metadata: Whether the addresses where clouds hand out credentials may be called.

    Raises:
        InvalidInput: What should be a host or a network is neither.
    """

    allow: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()
    private: bool = True
    metadata: bool = False

    def __post_init__(self) -> None:
        for rules in (self.allow, self.deny):
            if isinstance(rules, str):
                raise InvalidInput(f"allow= and deny= are lists of hosts and networks, not {rules!r}.")
        _ = self._allowed, self._denied

    @cached_property
    def _allowed(self) -> Rules:
        return Rules(self.allow)

    @cached_property
    def _denied(self) -> Rules:
        return Rules(self.deny)

    def check(self, host: str, address: str) -> None:
        """Let it pass, or not.

        Args:
            host: As it is written in the URL.
            address: That is about to be connected to.

        Raises:
            EgressDenied: With the reason, which does not tell what stands there.
        """
        name = host.rstrip(".").lower()
        for one in _meanings(ipaddress.ip_address(address.partition("%")[0])):
            reason = self._reason(name, one)
            if reason is not None:
                raise EgressDenied(f"The egress policy forbids to call {host!r}: {reason}.")

    def _reason(self, name: str, address: Address) -> str | None:
        if address.is_multicast or address.is_unspecified or address == ipaddress.ip_address("255.255.255.255"):
            return "it leads to no single host"
        if self._denied.fit(name, address):
            return "it is denied"
        if not self.metadata and (name in _METADATA_NAMES or any(address in network for network in _METADATA)):
            return "credentials of the machine may be handed out there"
        if self.allow:
            return None if self._allowed.fit(name, address) else "it is not on the list of those that may be called"
        if not self.private and not address.is_global:
            return "it leads to a private address"
        return None


class Rules:
    """Hosts and networks, read."""

    def __init__(self, texts: Iterable[str]) -> None:
        self.networks: list[Network] = []
        self.names: set[str] = set()
        self.suffixes: list[str] = []
        for text in texts:
            self._add(text)

    def _add(self, text: str) -> None:
        if not isinstance(text, str) or not text.strip():
            raise InvalidInput(f"A rule of an egress policy is a host or a network, not {text!r}.")
        try:
            self.networks.append(ipaddress.ip_network(text.strip("[]"), strict=False))
        except ValueError:
            name = text.rstrip(".").lower()
            if "/" in name:
                raise InvalidInput(f"{text!r} is neither a network nor a host.") from None
            if name.startswith("."):
                self.suffixes.append(name)
            else:
                self.names.add(name)

    def fit(self, name: str, address: Address) -> bool:
        """Whether any rule is about this host or address."""
        return (
            name in self.names
            or any(name.endswith(suffix) for suffix in self.suffixes)
            or any(address in network for network in self.networks)
        )


def _meanings(address: Address) -> list[Address]:
    """The address, and the IPv4 address that it wraps."""
    found: list[Address] = [address]
    if isinstance(address, ipaddress.IPv6Address):
        inner = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
        found += [one for one in inner if one is not None]
        if address in _NAT64:
            found.append(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
        if int(address) >> 32 == 0 and int(address) > 1:  # the old compatible form
            found.append(ipaddress.IPv4Address(int(address)))
    return found
