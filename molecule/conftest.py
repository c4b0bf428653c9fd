# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The fixtures of all scenarios."""

from __future__ import annotations

import os

import pytest
from ansible_collections.evenkeel.flask.molecule.shared.testbed import Fleet, Host


@pytest.fixture(scope="session")
def fleet() -> Fleet:
    """The scenario's own fleet; molecule passes its name, and the app's."""
    return Fleet(os.environ["FLEET"], os.environ["APP"])


@pytest.fixture(scope="session")
def host(fleet: Fleet) -> Host:
    """The first app host; the others are as it is."""
    return fleet.hosts["app1"]
