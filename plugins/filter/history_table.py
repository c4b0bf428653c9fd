# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lay out the history of switches as a table."""

from __future__ import annotations

DOCUMENTATION = r"""
name: history_table
short_description: Lay out the last switches that M(evenkeel.flask.release_info) found on each host as a table
version_added: "0.1.0"
author: The evenkeel.flask authors (@evenkeel)
description:
  - One line for each switch, the newest of each host first. An unreachable host has none.
positional: most
options:
  _input:
    description: The returned values of M(evenkeel.flask.release_info) by host.
    type: dict
    required: true
  most:
    description: The maximum number of switches per host.
    type: int
    default: 10
"""

EXAMPLES = r"""
- name: Show the table
  ansible.builtin.debug:
    msg: "{{ {'app1': found} | evenkeel.flask.history_table(5) }}"
"""

RETURN = r"""
_value:
  description: The lines of the table.
  type: list
  elements: str
"""

from collections.abc import Mapping
from typing import Any, Callable

from ..plugin_utils._table import lay_out

HEAD = ("host", "when", "what", "release", "instead of", "by", "from", "commit", "verdict", "took")
KEYS = ("time", "action", "release", "previous", "who", "controller", "commit", "verdict")


def _row(host: str, switch: Mapping[str, Any]) -> tuple[str, ...]:
    took = switch.get("took")
    steps = took.items() if isinstance(took, Mapping) else ()
    durations = ", ".join(f"{step} {seconds:g} s" for step, seconds in steps if seconds)
    return (host, *(str(switch.get(key) or "-") for key in KEYS), durations or "-")


def history_table(found: Mapping[str, Mapping[str, Any] | None], most: int = 10) -> list[str]:
    rows = [
        _row(host, switch)
        for host, info in found.items()
        for switch in ((info or {}).get("history") or [])[::-1][:most]
    ]
    return lay_out([HEAD, *rows])


class FilterModule:
    """The filter, for Ansible."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"history_table": history_table}
