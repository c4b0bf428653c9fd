# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lay out profiles as a table, compared with earlier ones."""

from __future__ import annotations

DOCUMENTATION = r"""
name: profile_table
short_description: Lay out the profile of each host by M(evenkeel.flask.endpoint_profile) as a table
version_added: "0.1.0"
author: The evenkeel.flask authors (@evenkeel)
description:
  - One line for each endpoint of a host, without the cache and with it. Latencies are those of the open loop. Requests
    per second, bytes, hits, CPU and waits are those of the closed loop.
  - If there is an earlier run, each cell has the figure before, the figure after, and the factor.
options:
  _input:
    description: The returned C(hosts) of M(evenkeel.flask.profile_report).
    type: dict
    required: true
  before:
    description: The returned C(before).
    type: dict
    default: {}
"""

EXAMPLES = r"""
- name: Show the table
  ansible.builtin.debug:
    msg: "{{ report.hosts | evenkeel.flask.profile_table(report.before) }}"
"""

RETURN = r"""
_value:
  description: The lines of the table, and the notes on each host.
  type: list
  elements: str
"""

from collections.abc import Mapping
from typing import Any, Callable

from ..plugin_utils._report import profile

Hosts = Mapping[str, Mapping[str, Any]]


def profile_table(hosts: Hosts, before: Hosts | None = None) -> list[str]:
    return profile.table(hosts, before or {})


class FilterModule:
    """The filter, for Ansible."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"profile_table": profile_table}
