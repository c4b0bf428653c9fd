# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The environment of an app as an argument of a module: never shown, and in the way of nothing."""

from __future__ import annotations

from typing import Any

# What is shorter is no secret, and a message would be unreadable without it.
SHORTEST_SECRET = 4


def take(module: Any) -> tuple[dict[str, str], set[str]]:
    """Return the environment, and what of it a message must not show: the C(no_log_values) of a failure.

    AnsibleModule masks the values of an argument wherever they stand. One such as V(1), or the
    app's own name, is part of the ids and paths that are returned, and the next task needs these
    as they are. So nothing is masked any more, and of the argument itself the names are left.
    """
    environment = {name: str(value) for name, value in module.params["environment"].items()}
    module.params["environment"] = sorted(environment)
    secrets = {value for value in module.no_log_values if len(value) >= SHORTEST_SECRET}
    module.no_log_values = set()
    return environment, secrets
