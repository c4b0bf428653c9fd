# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Decide whether and how to change the state of a server in a load balancer.

The communication with each kind of balancer has its own file. This one decides.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Callable, Protocol

from .._errors import BalancerError
from .._system import untrusted

SERVING = "serving"
DRAINED = "drained"
# A person removed it, and only a person returns it to service.
MAINTENANCE = "maintenance"
# It would receive requests, but it does not respond to the balancer.
DOWN = "down"
# All hosts of a batch can wait at once, and each reload of nginx takes up to 30 s.
TURN_SECONDS = 600.0


@dataclass(frozen=True)
class Server:
    """A server's state in the balancer; C(busy) is the number of requests in flight."""

    state: str
    busy: int = 0


class Balancer(Protocol):
    """The place of one server in its pool."""

    server: str
    pool: str
    poll_seconds: float

    def servers(self) -> Mapping[str, Server]:
        """Return all servers of the pool by name, including C(server)."""

    def take_out(self) -> None: ...

    def put_back(self) -> None: ...


@dataclass(frozen=True)
class Plan:
    """The action, if any; C(warning) is the reason why the requested state is not set."""

    verb: str | None = None
    warning: str | None = None


@dataclass(frozen=True)
class Outcome:
    """The actions on a server, and its state in the balancer afterwards."""

    plan: Plan
    before: Server
    after: Server


def plan(target: str, server: str, pool: str, servers: Mapping[str, Server]) -> Plan:
    """Plan how to bring C(server) to V(drained) or V(serving)."""
    found = servers[server].state
    if target == DRAINED and found == SERVING:
        if any(other.state == SERVING for name, other in servers.items() if name != server):
            return Plan("take_out")
        return Plan(
            warning=f"{server} is the last server of {pool} that serves, so it stays in. The switch of a release "
            "loses no request without draining."
        )
    if target == SERVING and found == DRAINED:
        return Plan("put_back")
    if target == SERVING and found == MAINTENANCE:
        return Plan(
            warning=f"{server} was taken out of {pool} by hand, and stays out until a person puts it back."
        )
    return Plan()


def move(
    balancer: Balancer,
    target: str,
    *,
    drain_timeout: float,
    healthy_timeout: float,
    check_mode: bool = False,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Outcome:
    """Bring a server to the requested state, and wait until it has it.

    Requests that are still in flight after C(drain_timeout) seconds continue.

    @raises BalancerError: if it does not reach the state
    """
    # Without the lock, two calls could each count on the other's server.
    with _alone():
        servers = balancer.servers()
        before = servers[balancer.server]
        step = plan(target, balancer.server, balancer.pool, servers)
        if check_mode:
            return Outcome(step, before, Server(target) if step.verb else before)
        if step.verb:
            getattr(balancer, step.verb)()

    def wait(is_so: Callable[[Server], bool], timeout: float) -> Server:
        deadline = clock() + timeout
        while True:
            found = balancer.servers()[balancer.server]
            if is_so(found) or clock() >= deadline:
                return found
            sleep(balancer.poll_seconds)

    if target == DRAINED and (step.verb or before.state == DRAINED):
        after = wait(lambda found: found.state != SERVING and not found.busy, drain_timeout)
        if after.state == SERVING:
            raise BalancerError(
                f"{balancer.server} was taken out of {balancer.pool}, and is sent users all the same "
                f"{drain_timeout:g} s later. See whether something else puts it back."
            )
    elif step.verb:
        after = wait(lambda found: found.state == SERVING, healthy_timeout)
        if after.state != SERVING:
            raise BalancerError(
                f"{balancer.server} was put back into {balancer.pool}, and is {after.state} there "
                f"{healthy_timeout:g} s later. See what the balancer's own health check asks for."
            )
    else:
        after = before
    return Outcome(step, before, after)


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """Exclude other calls of the same user on this machine."""
    uid = os.getuid()
    # In a world-writable directory others could create the file first.
    folder = "/run" if uid == 0 and os.path.isdir("/run") else tempfile.gettempdir()
    path = os.path.join(folder, f"evenkeel-balancer-{uid}.lock")
    try:
        with untrusted.locked(path, TURN_SECONDS):
            yield
    except untrusted.UntrustedError as error:
        raise BalancerError(str(error)) from error
