# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Killed server processes restart by themselves, and no user at the balancer notices."""

from __future__ import annotations

import pytest
from ansible_collections.evenkeel.flask.molecule.shared.testbed import wait_until

SERVICE = "storefront@{slot}.service"
# The processes that are killed, with their units; a worker is a child of gunicorn's master.
KILLED = {
    "gunicorn's master is killed": (SERVICE, "kill -KILL $pid"),
    "a worker is killed": (SERVICE, "kill -KILL $(pgrep -o -P $pid)"),
    "nginx's master is killed": ("nginx.service", "kill -KILL $pid"),
    "a worker of nginx is killed": ("nginx.service", "kill -KILL $(pgrep -o -P $pid)"),
}
# With control groups of version 1, systemd in a container gets no notice that all processes of a unit
# are gone, and waits until its timeout. Hosts get the notice at once.
SOON = """
for unit in storefront@.service nginx.service; do
    mkdir -p /run/systemd/system/$unit.d
    printf '[Service]\\nTimeoutStopSec=1\\n' > /run/systemd/system/$unit.d/soon.conf
done
systemctl daemon-reload
"""


@pytest.fixture(autouse=True)
def knows_at_once(host):
    host.see.check_output(SOON)
    yield
    host.see.check_output(
        "rm -rf /run/systemd/system/*.service.d/soon.conf; systemctl daemon-reload"
    )


@pytest.mark.parametrize("fault", KILLED)
def test_what_is_killed_comes_back_and_the_balancer_loses_nothing(fleet, host, note, fault):
    unit, kill = KILLED[fault]
    unit = unit.format(slot=host.live_slot)
    processes = f"systemctl show -p MainPID --value {unit}; pgrep -P $(systemctl show -p MainPID --value {unit})"
    before = fleet.releases()
    known = set(host.see.run(processes).stdout.split())

    def is_back():
        now = set(host.see.run(processes).stdout.split())
        return len(now) == len(known) and now != known and fleet.serves("app1")

    with fleet.users() as users:
        host.see.check_output(f"pid=$(systemctl show -p MainPID --value {unit}); {kill}")
        wait_until(is_back, f"{unit} is back")
    note(fault, "serving", "-", users.summary, before)
    assert users.summary.targets["lb1"]["failed"] == 0
    assert users.summary.targets["app2"]["failed"] == 0
    assert fleet.releases() == before
    assert host.runs_the_live_slot_alone
