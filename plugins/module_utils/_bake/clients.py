# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Count requests by client, so that one client never counts as the whole population. Pure.

A client is an IPv4 address or an IPv6 network of 64 bits. Two kinds of address stand for many
clients and are "shared": an address of the host itself, and an address that sent nearly all
requests before the switch (a balancer that nginx does not trust). Requests without an address
are also shared. Each request of a shared address counts by itself.
"""

from __future__ import annotations

import functools
import ipaddress
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Optional

# The newest times of one client on one route, in samples.
MAX_SAMPLES = 500
# Bounds the memory that one client can use by requests to many routes.
MAX_ROUTES = 5000
# Fewer requests do not show whether an address is a balancer's.
MIN_KNOWN = 20
# Addresses in addition to the balancers: monitoring, or a person with direct access.
MAX_STRAYS = 2
STRAY_SHARE = 0.05
MAX_BALANCERS = 2

Client = Optional[str]
LOOPBACK = "127.0.0.1"


def client_of(address: object) -> Client:
    """Return the client that an address belongs to; V(None) if there is no address."""
    return _client_of(address) if isinstance(address, str) and address else None


@functools.lru_cache(10_000)
def _client_of(address: str) -> str:
    try:
        parsed = ipaddress.ip_address(address)
        if isinstance(parsed, ipaddress.IPv6Address):
            parsed = parsed.ipv4_mapped or parsed
        if parsed.is_loopback:
            return LOOPBACK
        if parsed.version == 6:
            return str(ipaddress.ip_network((int(parsed), 64), strict=False))
        return str(parsed)
    except ValueError:
        # The name that a proxy uses for a client with an unknown address.
        return address[:64]


@dataclass
class Tally:
    """The requests of one client: their number, the failed ones, and the times of the others in ms."""

    asked: int = 0
    errors: int = 0
    ms: list[float] = field(default_factory=list)

    def add(self, failed: bool, ms: float | None) -> None:
        self.asked += 1
        self.errors += failed
        if ms is not None and not failed:
            self.ms.append(ms)
            if len(self.ms) > 2 * MAX_SAMPLES:
                del self.ms[:-MAX_SAMPLES]


@dataclass
class RouteStats:
    """The requests on a route, or on all routes, by client, the client of the last request last."""

    asked: int = 0
    errors: int = 0
    by_client: dict[Client, Tally] = field(default_factory=dict)

    def add(self, client: Client, failed: bool, ms: float | None) -> None:
        self.asked += 1
        self.errors += failed
        tally = self.by_client.pop(client, None) or Tally()
        self.by_client[client] = tally
        tally.add(failed, ms)

    def of(self, clients: Collection[Client]) -> RouteStats:
        """Return the requests of these clients only."""
        return _sum(
            {client: self.by_client[client] for client in clients if client in self.by_client}
        )

    def without(self, clients: Collection[Client]) -> RouteStats:
        """Return the requests of all other clients."""
        return _sum({one: tally for one, tally in self.by_client.items() if one not in clients})

    @property
    def affected(self) -> int:
        """Return how many clients had a failure."""
        return sum(tally.errors > 0 for tally in self.by_client.values())

    def busiest(self, shared: Collection[Client]) -> list[int]:
        """Return the request counts of the two busiest clients whose address is not shared."""
        counts = [tally.asked for client, tally in self.by_client.items() if client not in shared]
        return sorted([0, 0, *counts])[-2:][::-1]


def _sum(by_client: dict[Client, Tally]) -> RouteStats:
    tallies = by_client.values()
    return RouteStats(
        sum(one.asked for one in tallies), sum(one.errors for one in tallies), by_client
    )


def find_shared(before: Mapping[Client, Tally]) -> frozenset[Client]:
    """Return the addresses behind which clients cannot be distinguished.

    Only requests before the switch count. An address is a balancer's if one or two
    addresses sent nearly all requests, with at most two strays beside them. So a visitor would
    have to send nearly all requests of ten minutes to count as more than one client.
    """
    counts = {
        client: tally.asked for client, tally in before.items() if client not in (None, LOOPBACK)
    }
    found: set[Client] = {None, LOOPBACK}
    if len(counts) > MAX_BALANCERS + MAX_STRAYS:
        return frozenset(found)
    total = sum(counts.values())
    ordered = sorted(counts, key=lambda client: (-counts[client], str(client)))
    strays = [counts[client] for client in ordered[MAX_BALANCERS:]]
    if total >= MIN_KNOWN and len(strays) <= MAX_STRAYS and sum(strays) <= STRAY_SHARE * total:
        heavy = ordered[:MAX_BALANCERS]
        found.update(client for client in heavy if counts[client] > STRAY_SHARE * total)
    return frozenset(found)


def shared_without_any(before: Mapping[Client, Tally]) -> list[frozenset[Client]]:
    """Return the result of C(find_shared), and its results without any one client.

    An address that sent nearly all requests is never left out: there is no other evidence.
    """
    found = [find_shared(before)]
    counts = {one: tally.asked for one, tally in before.items() if one not in (None, LOOPBACK)}
    if len(counts) <= MAX_BALANCERS + MAX_STRAYS + 1:
        most = (1 - STRAY_SHARE) * sum(counts.values())
        found += [
            find_shared({client: tally for client, tally in before.items() if client != one})
            for one in counts
            if counts[one] < most
        ]
    return list(dict.fromkeys(found))
