# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A broken release reaches no user, and no host after the first that could tell."""

from __future__ import annotations

import re

import pytest

# Who refuses it, and what for. Only the last eight come as far as running on a host.
FAULTS = {
    "broken-requirement": r"localhost\]: .*flask_app_requirements: Cannot install .*Werkzeug==2\.3\.8",
    "broken-import": r"localhost\]: .* cannot be imported: .*No module named 'storefront\.payments'",
    "broken-crash": r"app1\]: .* cannot be loaded: .*PAYMENT_KEY is not set",
    "broken-migration": r"app1\]: .*flask --app storefront db upgrade' ended with status 1",
    "broken-destructive": r"app1\]: .*0003_no_pictures\.py, line 19: drop_column product picture",
    "broken-health": r"refused on app1: .*Health Check Endpoint failed",
    "broken-500": r"refused on app1: .*Main Page Loading failed \(500",
    "broken-api": r"refused on app1: .*API Health failed",
    "broken-upload": r"refused on app1: .*File Upload failed",
    "slow": r"refused on app1: .*Response Times failed",
    "broken-concurrency": r"refused on app1: .*Concurrent Connections failed",
    "broken-session": r"refused on app1: .*Session Management failed",
    "broken-traceback": r"refused on app1: .*Error Handling failed",
}


@pytest.fixture(scope="module", params=FAULTS)
def fault(fleet, request):
    fleet.lay_out(request.param)
    return request.param


@pytest.fixture(scope="module")
def refused(fleet, fault):
    return fleet.play_under_load("rollout")


def test_the_run_fails_and_says_who_refused_the_release_and_why(refused, fault):
    assert refused.status != 0
    assert re.search(FAULTS[fault], refused.said)


def test_no_user_notices(refused):
    assert refused.users.sent > 0
    assert refused.users.failed == 0
    assert {release.partition("-")[0] for release in refused.users.releases} == {"1.0.0"}


def test_every_host_is_left_as_it_was(fleet, refused):
    for host in fleet.hosts.values():
        assert host.runs_the_live_slot_alone
        assert [line["action"] for line in host.history] == ["release"]


def test_no_later_batch_started_it(fleet, refused):
    assert set(fleet.hosts["app2"].slots.values()) == fleet.releases()
