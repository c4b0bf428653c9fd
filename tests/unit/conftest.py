# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What make check leaves to make test: the tests that are slow, and most of hypothesis' examples."""

from __future__ import annotations

from hypothesis import settings

# No test fails for want of time: the machine may be busy.
settings.register_profile("default", deadline=None)
settings.register_profile("quick", max_examples=20, deadline=None)
settings.load_profile("default")


def pytest_configure(config):
    # Here and not in pyproject.toml, which ansible-test does not read.
    config.addinivalue_line("markers", "slow: takes half a second; only make test has it")
