# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The message about a host on which a run stopped contains only facts that were found there."""

from __future__ import annotations

import itertools

import pytest
from ansible_collections.evenkeel.flask.plugins.filter.stop_message import STEPS, stop_message

BARE = {"releases": [], "present": [], "live": None, "healthy": False}
HALF = {**BARE, "present": ["/srv/shop", "user shop"]}
LIVE = {"releases": ["b", "a"], "present": ["/srv/shop"], "live": "a", "healthy": True}
SICK = {**LIVE, "healthy": False}
LOST = {"unreachable": True, "msg": "no route to host."}


@pytest.mark.parametrize(
    ("found", "step", "more", "message"),
    [
        (
            BARE,
            "preflight",
            (),
            "app1: the run stopped in its checks, and has changed nothing on this host. No release is live here.",
        ),
        (
            HALF,
            "setup",
            (),
            "app1: the run stopped while it set up this host, and has switched nothing. These stand "
            "on it now: /srv/shop, user shop. No release is live here.",
        ),
        (
            LIVE,
            "stage",
            ("b",),
            "app1: the run stopped before the first switch. This run has not migrated the "
            "database. b is staged here. a is live here, and answers.",
        ),
        (
            LIVE,
            "stage",
            ("c", {"rc": 1}),
            "app1: the run stopped before the first switch. The migration failed; it "
            "may have changed a part of the database. c is not staged here. a is live here, and answers.",
        ),
        (
            SICK,
            "stage",
            ("b", {"rc": 0}),
            "app1: the run stopped before the first switch. This run has migrated the "
            "database, and it stays so. b is staged here. a is live here, and does not answer as it should.",
        ),
        (
            LOST,
            "stage",
            ("b", {"unreachable": True}),
            "app1: the run stopped before the first switch. The host was "
            "lost while the migration ran; it may have changed the database. What stands on the host now is not "
            "known: no route to host.",
        ),
        (
            LIVE,
            "choose",
            (),
            "app1: the rollback stopped before the first switch. a is live here, and answers.",
        ),
    ],
)
def test_it_says_what_stands(found, step, more, message):
    assert stop_message(found, "app1", step, *more) == message


@pytest.mark.parametrize(
    ("found", "step"), itertools.product([BARE, HALF, LIVE, SICK, LOST], STEPS)
)
def test_it_claims_nothing_that_was_not_found(found, step):
    message = stop_message(found, "app1", step, "b")
    assert ("answers." in message) == (found is LIVE)
    assert ("is live here" in message and "No release" not in message) == bool(found.get("live"))
    assert ("not known" in message) == (found is LOST)
    assert ("nothing on this host" in message) == (step == "preflight")
    assert "left as it was" not in message
