# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module as a task sees it."""

from __future__ import annotations

import pytest
import yaml
from ansible_collections.evenkeel.flask.plugins.modules import health_check
from ansible_collections.evenkeel.flask.tests.unit.plugins.loopback import ok, serving
from ansible_collections.evenkeel.flask.tests.unit.plugins.run_module import run_module

RETURNED = {"healthy", "passed", "failed_endpoints", "results", "msg"}


def answer(_conn, request):
    if b" /bad" in request:
        return ok(b"not yet", "503 Service Unavailable")
    return ok(b'{"status": "ok"}')


@pytest.mark.parametrize("check_mode", [False, True])
def test_healthy_endpoints_pass_and_change_nothing(check_mode):
    endpoints = [{"path": "/health", "json": {"status": "ok"}}, {"path": "/"}]
    with serving(answer) as server:
        returned = run_module(
            health_check, check_mode, base_url=server.url, endpoints=endpoints, attempts=2, successes=2,
            interval=0,
        )  # fmt: skip
    assert not returned.get("failed")
    assert returned["changed"] is False
    assert (returned["healthy"], returned["passed"], returned["failed_endpoints"]) == (True, 2, 0)
    assert [result["attempts"] for result in returned["results"]] == [2, 2]


def test_an_unhealthy_endpoint_fails_the_task_with_all_results():
    with serving(answer) as server:
        result = run_module(
            health_check, base_url=server.url, endpoints=[{"path": "/"}, {"path": "/bad"}]
        )
    assert result["failed"] is True
    assert result.keys() >= RETURNED
    assert (result["healthy"], result["passed"], result["failed_endpoints"]) == (False, 1, 1)
    assert result["msg"] == "1 of 2 endpoints are not healthy: /bad: 503, wanted 200."


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"endpoints": []}, "endpoints is empty: there is nothing to check."),
        ({"endpoints": [{"path": "/"}], "base_url": "ftp://h"}, "must begin with http"),
        ({"endpoints": [{"path": "/", "matches": "("}]}, "matches is no regular expression"),
        ({"endpoints": [{"path": "/", "contain": "x"}]}, "Unsupported parameters"),
    ],
)
def test_a_bad_argument_is_no_verdict(params, message):
    result = run_module(health_check, **params)
    assert result["failed"] is True
    assert message in result["msg"]
    assert "healthy" not in result


def test_credentials_are_masked():
    headers = {"Authorization": "Bearer hunter2"}
    endpoints = [{"path": "/", "headers": headers, "contains": "Bearer hunter2"}]
    with serving(answer) as server:
        result = run_module(health_check, base_url=server.url, endpoints=endpoints)
    assert b"Bearer hunter2" in server.requests[0]
    assert "hunter2" not in str(result)


def test_every_value_that_is_returned_is_documented():
    assert set(yaml.safe_load(health_check.RETURN)) == RETURNED
    assert yaml.safe_load(health_check.EXAMPLES)
