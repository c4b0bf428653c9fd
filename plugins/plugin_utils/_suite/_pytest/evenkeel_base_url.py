# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tell the team's tests where the candidate is: the fixture C(base_url). For pytest, in the suite's own venv."""

from __future__ import annotations

import os


def base_url() -> str:
    """Where the candidate answers, without a slash at the end."""
    return os.environ["BASE_URL"]


def pytest_configure() -> None:
    # Ansible looks at all plugins of a collection, and need not have it.
    import pytest

    globals()["base_url"] = pytest.fixture(scope="session")(base_url)
