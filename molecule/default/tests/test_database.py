# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""After an outage of the database, the health endpoint reports it, and nothing needs a restart."""

from __future__ import annotations

import pytest
import testinfra
from ansible_collections.evenkeel.flask.molecule.shared.testbed import wait_until


@pytest.fixture(name="database")
def _database(fleet):
    """A function that stops or starts the unit of PostgreSQL; it is started again after the test."""
    data = testinfra.get_host(f"podman://evenkeel-{fleet.folder.name}-data")
    unit = data.check_output("systemctl list-units --plain --no-legend 'postgresql@*'").split()[0]

    def turn(verb):
        data.check_output(f"systemctl {verb} {unit}")

    yield turn
    turn("start")


def test_health_tells_the_truth_and_the_pool_outlives_a_restart_of_the_database(
    fleet, host, database
):
    workers = host.see.check_output("pgrep gunicorn")
    database("stop")
    assert fleet.ask("app1").status == 503
    database("start")
    wait_until(lambda: fleet.serves("app1"), "the database is back")
    # Each of the workers has a pool, and none of them may hold a dead connection.
    asked = {fleet.ask("app1", f"/api/products?turn={turn}").status for turn in range(40)}
    assert asked == {200}
    assert host.see.check_output("pgrep gunicorn") == workers
