# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lay out the measures of the production form as a table."""

from __future__ import annotations

DOCUMENTATION = r"""
name: optimizations_table
short_description: Lay out the state of each measure in the live releases as a table
version_added: "0.1.0"
author: The evenkeel.flask authors (@evenkeel)
description:
  - One line for each measure and state that M(evenkeel.flask.release_info) returned, with its hosts.
options:
  _input:
    description: The returned values of M(evenkeel.flask.release_info) by host.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Show the table
  ansible.builtin.debug:
    msg: "{{ {'app1': found} | evenkeel.flask.optimizations_table }}"
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

HEAD = ("measure", "state", "detail", "hosts")


def optimizations_table(found: Mapping[str, Mapping[str, Any] | None]) -> list[str]:
    hosts: dict[tuple[str, str, str], list[str]] = {}
    for host, info in found.items():
        for measure in (info or {}).get("optimizations") or []:
            outcome = (measure["measure"], measure["state"], measure["detail"] or "-")
            hosts.setdefault(outcome, []).append(host)
    return lay_out([HEAD, *((*outcome, ", ".join(names)) for outcome, names in hosts.items())])


class FilterModule:
    """The filter, for Ansible."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"optimizations_table": optimizations_table}
