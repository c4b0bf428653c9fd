# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A balancer as people have it, and the page that the long run writes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from ansible_collections.evenkeel.flask.tests.bench import page

PAGE = Path(__file__).resolve().parents[3] / "docs" / "faults.md"
HEAD = [
    "fault",
    "when",
    "the run",
    "requests",
    "failed through the balancer",
    "failed directly",
    "served then",
]
# The other scenarios must see the lost requests of a host. Here a balancer sends the requests of a failed
# host to the other one.
BALANCER = r"""
cd /etc/haproxy
sed -e 's/retries 0/retries 3\n    retry-on all-retryable-errors\n    http-reuse never/' \
    -e 's/no option redispatch/option redispatch 1/' \
    -e 's/timeout connect 5s/timeout connect 1s/' \
    -e 's/timeout server 60s/timeout server 5s/' -i haproxy.cfg
systemctl reload haproxy
"""


@pytest.fixture(scope="session", autouse=True)
def balancer(fleet):
    fleet.props["lb1"].see.check_output(BALANCER)


@pytest.fixture(scope="session")
def rows():
    """The results of the faults; the long run writes them into the docs."""
    measured, found = page.machine(), []
    yield found
    if os.environ.get("LONG"):
        page.write("faults of the world", page.table(HEAD, found), measured, PAGE)
    else:
        print("\n".join(page.table(HEAD, found)))


@pytest.fixture
def note(fleet, rows):
    """Note what a fault came to."""

    def row(fault, when, run, users, before):
        failed = {name: counts["failed"] for name, counts in users.targets.items()}
        direct = ", ".join(f"{host}: {failed[host]}" for host in fleet.hosts)
        served = ", ".join(
            "old" if fleet.ask(host).release in before else "new" for host in fleet.hosts
        )
        rows.append([fault, when, run, str(users.sent), str(failed["lb1"]), direct, served])
        print(" | ".join(rows[-1]), flush=True)

    return row
