# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The judgement of a bake under one name, for programs that replay an access log through it."""

from __future__ import annotations

from .traffic import Traffic, requests
from .traffic import evaluate as judge

__all__ = ["Traffic", "judge", "requests"]
