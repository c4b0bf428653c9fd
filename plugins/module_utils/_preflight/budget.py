# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Calculate how many database connections the workers of a fleet can open. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from .._errors import PreflightError, PreflightWarning


@dataclass(frozen=True)
class ConnectionBudget:
    """The maximum connections of the workers of hosts with the same figures, over both slots.

    A worker holds at most one connection per thread, and never more than the size of its
    pool: pool_size + max_overflow (SQLAlchemy's QueuePool).
    """

    workers: int
    threads: int
    pool_size: int
    max_overflow: int
    hosts: int
    slots: int = 2

    @property
    def pool(self) -> int:
        return self.pool_size + self.max_overflow

    @property
    def each(self) -> int:
        return max(1, min(self.threads, self.pool))

    @property
    def wanted(self) -> int:
        return self.workers * self.each * self.hosts * self.slots

    @property
    def possible(self) -> int:
        return self.workers * self.pool * self.hosts * self.slots


def shares(figures: Iterable[Mapping[str, int]], slots: int) -> list[ConnectionBudget]:
    """Group hosts with the same figures, in the order of the fleet."""
    counted: dict[tuple[tuple[str, int], ...], int] = {}
    for own in figures:
        key = tuple(sorted(own.items()))
        counted[key] = counted.get(key, 0) + 1
    return [
        ConnectionBudget(**dict(key), hosts=hosts, slots=slots) for key, hosts in counted.items()
    ]


def check_budget(budgets: Sequence[ConnectionBudget], allowed: int, because: str) -> None:
    """Compare the fleet's maximum with the server's limit, which has the reason C(because).

    @param budgets: of all hosts that use the server, including those outside of this run
    """
    wanted, possible = (sum(getattr(b, of) for b in budgets) for of in ("wanted", "possible"))
    arithmetic = " + ".join(_multiplied(budget) for budget in budgets) + f" = {wanted}"
    only = budgets[0] if len(budgets) == 1 else None
    if wanted > allowed:
        fits = allowed // (only.each * only.hosts * only.slots) if only else None
        advice = f"at most gunicorn_workers: {fits} fits" if fits else "not even one worker fits"
        advice = advice if only else "lower gunicorn_workers"
        raise PreflightError(
            f"{arithmetic}, and the database allows {allowed} ({because}); {advice}, or let the server "
            "allow more."
        )
    if possible > allowed:
        pools = " + ".join(
            f"{_counted(b.workers, 'worker')} x ({b.pool_size} + {b.max_overflow}) x "
            f"{_counted(b.hosts, 'host')} x {_counted(b.slots, 'slot')}"
            for b in budgets
        )
        fits = allowed // sum(b.workers * b.hosts * b.slots for b in budgets)
        raise PreflightWarning(
            f"in theory the pools could hold {pools} = {possible} connections, and the database allows "
            f"{allowed} ({because}). What the workers can really hold at once fits: {arithmetic}. A release "
            f"that leaks them could still take all; flask_app_pool_size: {fits} with "
            "flask_app_pool_max_overflow: 0 would keep it from that."
        )


def _multiplied(budget: ConnectionBudget) -> str:
    return (
        f"{_counted(budget.workers, 'worker')} x {_counted(budget.each, 'connection')} x "
        f"{_counted(budget.hosts, 'host')} x {_counted(budget.slots, 'slot')}"
    )


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
