# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Collect the figures that limit each host's database connections."""

from __future__ import annotations

DOCUMENTATION = r"""
name: connection_figures
short_description: Collect the figures that limit the database connections of each host
version_added: "0.1.0"
author: The evenkeel.flask authors (@evenkeel)
description:
  - Each host has its own variables, and otherwise the defaults of the roles.
  - Hosts outside of the play are included, because their workers also hold connections.
positional: hosts
options:
  _input:
    description: The variables of all hosts, C(hostvars).
    type: dict
    required: true
  hosts:
    description: The hosts of the fleet.
    type: list
    elements: str
    required: true
"""

EXAMPLES = r"""
- name: Show the figures
  ansible.builtin.debug:
    msg: "{{ hostvars | evenkeel.flask.connection_figures(groups['app']) }}"
"""

RETURN = r"""
_value:
  description: The figures of each host, in the order of O(hosts).
  type: list
  elements: dict
"""

import os
from collections.abc import Mapping, Sequence
from typing import Any, Callable

from ansible.errors import AnsibleFilterError
from ansible.module_utils.common.yaml import yaml_load

ROLES_FOLDER = os.path.normpath(os.path.join(os.path.dirname(__file__), "..", "..", "roles"))
FIGURES = {
    "workers": ("gunicorn", "gunicorn_workers"),
    "threads": ("gunicorn", "gunicorn_threads"),
    "pool_size": ("flask_app", "flask_app_pool_size"),
    "max_overflow": ("flask_app", "flask_app_pool_max_overflow"),
}


def _defaults(role: str) -> dict[str, Any]:
    with open(os.path.join(ROLES_FOLDER, role, "defaults", "main.yml"), encoding="utf-8") as stream:
        found: dict[str, Any] = yaml_load(stream)
    return found


def connection_figures(
    variables: Mapping[str, Mapping[str, Any]], hosts: Sequence[str]
) -> list[dict[str, int]]:
    defaults = {role: _defaults(role) for role, _name in FIGURES.values()}
    figures: list[dict[str, int]] = []
    for host in hosts:
        own = variables[host]
        figures.append({})
        for figure, (role, name) in FIGURES.items():
            try:
                value = own[name] if name in own else defaults[role][name]
                figures[-1][figure] = int(value)
            except Exception as error:
                raise AnsibleFilterError(
                    f"{name}: the value of {host} is not a whole number or cannot be evaluated; correct it, for "
                    "its workers count in the database's connections."
                ) from error
    return figures


class FilterModule:
    """The filter, for Ansible."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"connection_figures": connection_figures}
