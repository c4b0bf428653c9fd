# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lay out the status of the fleet as a table."""

from __future__ import annotations

DOCUMENTATION = r"""
name: status_table
short_description: Lay out the status of each host by M(evenkeel.flask.release_info) as a table
version_added: "0.1.0"
author: The evenkeel.flask authors (@evenkeel)
description:
  - One line for each host, including unreachable ones.
  - If O(balancers) is set, a column has the state of each host in the balancers.
options:
  _input:
    description: The returned values of M(evenkeel.flask.release_info) by host. An unreachable host has no entry.
    type: dict
    required: true
  balancers:
    description: The returned values of M(evenkeel.flask.balancer) by host, from a loop over the balancers.
    type: dict
    default: {}
"""

EXAMPLES = r"""
- name: Show the table
  ansible.builtin.debug:
    msg: "{{ {'app1': found} | evenkeel.flask.status_table }}"
"""

RETURN = r"""
_value:
  description: The lines of the table.
  type: list
  elements: str
"""

from collections.abc import Mapping
from typing import Any, Callable, Optional

from ..plugin_utils._table import lay_out

HEAD = ("host", "live release", "slot", "candidate", "previous", "since", "drift", "healthy")


Found = Mapping[str, Optional[Mapping[str, Any]]]


def _row(host: str, info: Mapping[str, Any] | None) -> tuple[str, ...]:
    if not info or "live" not in info:
        return (host, *["?"] * (len(HEAD) - 2), "unreachable")
    live = str(info["live"] or "-")
    if info["answering"] != info["live"]:
        live = f"{live}, but {info['answering'] or 'nobody'} answers"
    values = (info["live_slot"], info["candidate"], info["previous"], info["since"])
    return (
        host,
        live,
        *(str(value or "-") for value in values),
        ", ".join(info.get("drift") or ()) or "-",
        "yes" if info["healthy"] else "NO",
    )


def _seen(balanced: Mapping[str, Any] | None) -> str:
    """Return a host's state in the balancers, with their names if the states differ."""
    states = {
        result["item"]: str(result.get("before", "?"))
        for result in (balanced or {}).get("results", ())
    }
    if len(set(states.values())) == 1:
        return next(iter(states.values()))
    return ", ".join(f"{name}: {state}" for name, state in states.items()) or "?"


def status_table(found: Found, balancers: Found | None = None) -> list[str]:
    rows = [HEAD, *(_row(host, info) for host, info in found.items())]
    if balancers:
        column = ["balancer", *(_seen(balancers.get(host)) for host in found)]
        rows = [(*row, cell) for row, cell in zip(rows, column)]
    return lay_out(rows)


class FilterModule:
    """The filter, for Ansible."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"status_table": status_table}
