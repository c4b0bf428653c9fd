# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Report all errors in the variables of a host. Documented in plugins/modules/check_variables.py."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

from ..module_utils._gate.verdict import CHECKS_SPEC
from ..plugin_utils import _variables

ROLES_FOLDER = os.path.normpath(os.path.join(os.path.dirname(__file__), "..", "..", "roles"))
SSH = ("ssh", "paramiko", "paramiko_ssh", "smart")

# The inputs of a release. They are checked only if the type of each is valid.
INPUTS = ("flask_app_source", "flask_app_requirements")

# A role's argument spec cannot refer to a module's, so these are merged here.
SUBOPTIONS = {"rollout_checks": CHECKS_SPEC}


class ActionModule(ActionBase):  # type: ignore[misc]
    """Runs only on the controller, without a connection to the host."""

    TRANSFERS_FILES = False
    _requires_connection = False
    _supports_check_mode = True
    _VALID_ARGS = frozenset({"roles", "required"})

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        variables = task_vars or {}
        _validation, args = self.validate_argument_spec(
            {
                "roles": {"type": "list", "elements": "str", "default": public_roles()},
                "required": {"type": "list", "elements": "str", "default": []},
            }
        )
        try:
            specs = _variables.load_specs(ROLES_FOLDER, args["roles"])
        except FileNotFoundError as error:
            raise AnsibleActionFail(
                f"roles: {error.filename} is not there; this collection's roles are "
                f"{', '.join(public_roles())}."
            ) from error
        options = {name: option for role in specs.values() for name, option in role.items()}
        required = [name for name, option in options.items() if option.get("required")]
        problems = _variables.unknown(variables, specs)
        problems += _variables.missing(dict.fromkeys([*required, *args["required"]]), variables)
        values, found = self._judge(options, variables)
        problems += found
        find = _variables.path_resolver(variables, self._loader.get_basedir())
        paths: dict[str, str] = {}
        if "flask_app" in specs and all(name in values for name in INPUTS if name in variables):
            paths, found = _variables.inputs(values, find)
            problems += found
        if "rollout_checks" in values:
            problems += _variables.suite(values["rollout_checks"], find)
        if "rollout_drain" in values:
            problems += _variables.drain(values["rollout_drain"], variables.get("groups", {}))
        if {"flask_app", "nginx", "redis_client"} <= set(specs):
            for judged in (_variables.limit, _variables.names):
                found, doubts = judged(values, variables.get("groups", {}))
                problems += found
                if doubts:
                    result.setdefault("warnings", []).extend(doubts)
        problems += _variables.claimed_twice(self._addresses(variables))
        result.update(changed=False, problems=problems, paths=paths)
        if problems:
            result.update(failed=True, msg="\n".join(problems))
        return result

    def _judge(
        self, options: _variables.Options, variables: Mapping[str, Any]
    ) -> tuple[dict[str, Any], list[str]]:
        """Return the values of the right type, and the errors in the others."""
        values: dict[str, Any] = {}
        problems: list[str] = []
        for name, option in options.items():
            if name not in variables or (option.get("required") and not variables[name]):
                continue
            if name in SUBOPTIONS:
                option = {**option, "options": SUBOPTIONS[name]}
            try:
                value = self._templar.template(variables[name])
                mistyped = list(_variables.mistyped(name, option, value))
                problems += mistyped
                if not mistyped:
                    values[name] = _variables.converted(option, value)
                    _variables.validate(name, values[name])
            except _variables.ValueProblem as problem:
                problems.append(f"{name}: {problem}")
            except Exception as error:  # Before ansible-core 2.19 a filter's own exception arrives.
                # A default fails only because another variable is missing, which is reported already.
                if variables[name] != option.get("default"):
                    problems.append(f"{name}: {_untemplatable(error, option)}")
        return values, problems

    def _addresses(self, variables: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
        """Return the SSH address of each host of the play, on its first host only, as hostvars are slow."""
        hosts = variables.get("ansible_play_hosts_all", [])
        found = {}
        for host in hosts if variables.get("inventory_hostname") in hosts[:1] else []:
            its = variables["hostvars"][host]
            connection = its.get("ansible_connection", self._play_context.connection)
            if connection.rpartition(".")[2] in SSH:
                found[host] = (
                    str(its.get("ansible_host", host)),
                    str(its.get("ansible_port") or 22),
                )
        return found


def public_roles() -> list[str]:
    return sorted(role for role in os.listdir(ROLES_FOLDER) if not role.startswith(("_", ".")))


def _untemplatable(error: Exception, option: Mapping[str, Any]) -> str:
    """Return Ansible's own message, unless it could contain a part of a secret."""
    message = " ".join(str(getattr(error, "message", error)).split())
    undefined = re.search(r"'[\w.]+' is undefined", message)
    if undefined:
        return f"cannot be evaluated: {undefined.group()}."
    return "cannot be evaluated." if option.get("no_log") else f"cannot be evaluated: {message}"
