# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pass the identity of this run to the module. Documented in plugins/modules/preflight.py."""

from __future__ import annotations

from . import rollout_lock


class ActionModule(rollout_lock.ActionModule):
    """Acquires the lock in the same way as C(rollout_lock)."""
