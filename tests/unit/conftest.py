# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests that make check and ansible-test skip, and that the stage "unit tests" of make test runs.

These are the tests that are slow, and most of hypothesis' examples.
"""

from __future__ import annotations

import os

import pytest
from hypothesis import settings

# ansible-test shows that the tests run under what Ansible takes for granted. It takes no options for pytest.
IS_ANSIBLE_TEST = "ANSIBLE_CONTROLLER_MIN_PYTHON_VERSION" in os.environ

# No test fails because of slowness: the machine may be busy.
settings.register_profile("default", deadline=None)
settings.register_profile("quick", max_examples=20, deadline=None)
settings.load_profile("quick" if IS_ANSIBLE_TEST else "default")


def pytest_configure(config):
    # Here and not in pyproject.toml, which ansible-test does not read.
    config.addinivalue_line("markers", "slow: takes half a second; only make test has it")


def pytest_collection_modifyitems(items):
    if IS_ANSIBLE_TEST:
        for item in items:
            if item.get_closest_marker("slow"):
                item.add_marker(pytest.mark.skip(reason="slow: the stage of all unit tests has it"))
