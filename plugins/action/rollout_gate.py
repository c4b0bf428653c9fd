# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run the module on the host, then the team's tests here. Documented in plugins/modules/rollout_gate.py."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.module_utils.common.parameters import remove_values
from ansible.plugins.action import ActionBase
from ansible.utils.vars import merge_hash

from ..module_utils._gate import suite, verdict
from ..module_utils._gate.check import Passed, Skipped
from ..module_utils._http import params as http_params
from ..module_utils._printable import printable, printable_all
from ..modules.rollout_gate import ARGUMENT_SPEC
from ..plugin_utils import _variables
from ..plugin_utils._suite import evaluate
from ..plugin_utils._suite import run as suite_run

# The limit of the tests' output that -vv shows; in characters.
MAX_OUTPUT = 1024 * 1024


class ActionModule(ActionBase):  # type: ignore[misc]
    """Returns the result of the module, extended by that of the team's tests, which run here."""

    TRANSFERS_FILES = False
    _supports_check_mode = True
    _supports_async = True

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        wrap_async = self._task.async_val and not self._connection.has_native_async
        output = printable_all(self._execute_module(task_vars=task_vars, wrap_async=wrap_async))
        result = merge_hash(result, output)
        results = [verdict.Result(**row) for row in output.get("results", [])]
        others = [one for one in results if one.name != suite.NAME]
        if not any(one.name == suite.NAME and one.outcome == "inconclusive" for one in results):
            return result
        own = self._run_suite(others, task_vars or {})
        gated = printable_all(verdict.as_dict([*others, own]))
        gated["elapsed"] = round(output.get("elapsed", 0) + own.elapsed_ms / 1000, 2)
        for word in ("failed", "exception"):
            result.pop(word, None)
        result.update(gated)
        if gated["verdict"] != "passed":
            result["failed"] = True
        return result

    def _run_suite(
        self, others: Sequence[verdict.Result], variables: Mapping[str, Any]
    ) -> verdict.Result:
        valid = ArgumentSpecValidator(ARGUMENT_SPEC).validate(self._task.args)
        params = valid.validated_parameters
        secrets = {
            *valid._no_log_values,
            *http_params.secrets(params["headers"]),
            *verdict.secret_headers(params["checks"], http_params.secrets),
        }

        def judged() -> Passed:
            if verdict.blocking_results(others):
                raise Skipped("the checks before it did not pass")
            return self._judged(params, variables, secrets)

        own = verdict.result_of(suite.NAME, suite.TITLE, judged)
        reason, *warnings = remove_values([own.reason, *own.warnings], secrets)
        return replace(own, reason=reason, warnings=warnings)

    def _judged(
        self, params: Mapping[str, Any], variables: Mapping[str, Any], secrets: set[str]
    ) -> Passed:
        settings = params["checks"][suite.NAME]
        find = _variables.path_resolver(variables, self._loader.get_basedir())
        policy = evaluate.Policy(settings["min_pass_rate"], settings["allowed_failures"])
        if settings["junit"]:
            path = find(settings["junit"])
            return evaluate.evaluate_report(suite_run.read(path), path, policy)
        host = str(variables.get("inventory_hostname", ""))
        with (
            suite_run.ending_cleanly(),
            tempfile.TemporaryDirectory(
                prefix="evenkeel-suite-", ignore_cleanup_errors=True
            ) as work,
            suite_run.reach(self._connection, params, work) as base_url,
        ):
            environment = suite_run.environment(os.environ, host, base_url)
            if settings["command"]:
                words = suite.argv(settings["command"])
                run = suite_run.execute(words, find(""), environment, settings["timeout"], work)
                self._show_output(run.output, secrets)
                return evaluate.evaluate_command(words[0], run, settings["timeout"])
            path = find(settings["path"])
            run = suite_run.pytest(path, find(""), environment, settings, work)
            self._show_output(run.output, secrets)
            return evaluate.evaluate_pytest(run, policy, settings["timeout"])

    def _show_output(self, output: str, secrets: set[str]) -> None:
        self._display.vv(printable(remove_values(output, secrets), MAX_OUTPUT))
