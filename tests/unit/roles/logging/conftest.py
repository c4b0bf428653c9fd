# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role's runtime code is importable here as it is in a release, under its own name."""

from __future__ import annotations

import json
import logging
import pathlib
import sys

import pytest

ROLE = pathlib.Path(__file__).parents[4] / "roles" / "logging"
sys.path.insert(0, str(ROLE / "files"))

import evenkeel_logging  # noqa: E402


@pytest.fixture
def settings(tmp_path):
    return evenkeel_logging.LogSettings(str(tmp_path), release="r1", slot="blue")


@pytest.fixture
def lines(tmp_path):
    """The lines of a log, as objects."""
    return lambda name: [json.loads(line) for line in (tmp_path / name).read_text().splitlines()]


@pytest.fixture
def untouched_root():
    """install() takes the root logger; give it back."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(False)
