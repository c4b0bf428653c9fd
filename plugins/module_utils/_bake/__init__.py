# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The evaluation of a bake under the names that programs use which replay an access log through it.

Modules of the collection import C(traffic) itself.
"""

from __future__ import annotations

from . import traffic

judge = traffic.evaluate
requests = traffic.requests


class Traffic(traffic.Traffic):
    """The requests and errors of a release."""

    hear = traffic.Traffic.add_log_lines
