# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Check mode on a fleet that is as it should be."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="module")
def dry_run(fleet):
    return fleet.play("site", "--check", "--diff", "-vvv")


def test_check_mode_finds_nothing_to_change(dry_run):
    assert (dry_run.status, dry_run.changed) == (0, 0)


def test_ansible_shows_no_secret_however_much_it_is_asked_to_say(fleet, dry_run):
    words = ("secret_key", "postgres_password", "redis_password")
    shown = [word for word in words if fleet.secrets[word] in dry_run.said]
    assert "VALUE_SPECIFIED_IN_NO_LOG_PARAMETER" in dry_run.said
    assert shown == []
    assert "demo-password" not in dry_run.said
