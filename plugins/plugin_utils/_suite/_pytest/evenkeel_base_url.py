# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Provide the fixture C(base_url), the candidate's URL. For pytest, in the suite's own venv."""

from __future__ import annotations

import os


def base_url() -> str:
    """Return the candidate's URL without a trailing slash."""
    return os.environ["BASE_URL"]


def pytest_configure() -> None:
    # Ansible imports all plugins of a collection, and pytest may not be installed there.
    import pytest

    globals()["base_url"] = pytest.fixture(scope="session")(base_url)
