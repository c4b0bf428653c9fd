# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module as a task sees it; what needs a running systemd is left to hosts."""

from __future__ import annotations

import json
import os

import pytest
import yaml
from ansible_collections.evenkeel.flask.plugins.module_utils import _errors
from ansible_collections.evenkeel.flask.plugins.module_utils._profile import measure
from ansible_collections.evenkeel.flask.plugins.module_utils._release import slots, stage
from ansible_collections.evenkeel.flask.plugins.module_utils._system import envfile
from ansible_collections.evenkeel.flask.plugins.modules import endpoint_profile
from ansible_collections.evenkeel.flask.tests.unit.plugins.loopback import ok, serving
from ansible_collections.evenkeel.flask.tests.unit.plugins.run_module import run_module

RELEASE = "2.0.0-1a2b3c4d5e"
ENVIRONMENT = {"DATABASE_URL": "postgresql://shop:hunter2@127.0.0.1:1/shop", "KEY": "hunter2"}


@pytest.fixture(name="profile")
def _profile_of(tmp_path, monkeypatch):
    release = tmp_path / "shop" / "releases" / RELEASE
    release.mkdir(parents=True)
    (release / "env").write_text(envfile.environment_file(ENVIRONMENT))
    (tmp_path / "shop" / "slots").mkdir()
    (tmp_path / "shop" / "slots" / "blue").symlink_to(release)
    (tmp_path / "shop" / "live.sock").symlink_to("/run/shop/blue.sock")
    # The main process is this one, and has no workers.
    monkeypatch.setattr(slots, "unit_state", lambda *_slot: {"MainPID": str(os.getpid())})

    def run(answer=None, check_mode=False, **params):
        with serving(answer or ok(b"hello", X_Cache="HIT")) as server:
            known = {
                "name": "shop", "base_url": server.url, "root": str(tmp_path), "seconds": 60, "rate": 500,
                "concurrency": 3, "max_requests": 40, "endpoints": ["/"],
            }  # fmt: skip
            return run_module(endpoint_profile, check_mode, **{**known, **params}), server

    return run


def test_endpoints_are_measured_and_nothing_is_changed(profile):
    result, server = profile(pool_size=60, headers={"Host": "shop.example"})
    assert not result.get("failed")
    assert (result["changed"], result["measured"]) == (False, True)
    assert (result["release"], result["slot"]) == (RELEASE, "blue")
    (endpoint,) = result["endpoints"]
    for loop in endpoint["loops"]:
        assert loop["errors"] == 0
        assert loop["requests"] > 0
        assert loop["hit_rate"] == 1
        assert list(loop["latency_ms"]) == ["p50", "p90", "p95", "p99", "max"]
    assert 8 <= len(server.requests) <= 40
    assert all(b"Host: shop.example" in request for request in server.requests)
    assert result["msg"].startswith("1 of 1 endpoints were measured. Slowest: / p95 ")


def test_without_endpoints_the_app_s_own_routes_are_measured(profile, monkeypatch, tmp_path):
    asked = []

    def run_in(*args):
        asked.append(args)
        return 0, f"hello\n{measure.MARK}{json.dumps(['/', '/about'])}\n"

    monkeypatch.setattr(stage, "run_in", run_in)
    result, _server = profile(endpoints=[], user="web")
    assert [endpoint["name"] for endpoint in result["endpoints"]] == ["/", "/about"]
    folder, user, _layout, command, _timeout = asked[0]
    assert (os.path.basename(folder), user) == (RELEASE, "web")
    assert command[0] == f"{folder}/venv/bin/python"


def test_check_mode_measures_nothing_and_says_so(profile):
    result, server = profile(check_mode=True)
    assert (result["changed"], result["measured"]) == (False, False)
    assert "Nothing is measured in check mode" in result["msg"]
    assert server.requests == []


def test_a_host_that_serves_nothing_is_told_so(profile, tmp_path):
    (tmp_path / "shop" / "live.sock").unlink()
    result, server = profile()
    assert result["failed"] is True
    assert "this host serves nothing of shop. Run the playbook evenkeel.flask.site" in result["msg"]
    assert server.requests == []


@pytest.mark.parametrize(
    ("params", "why"),
    [
        ({"concurrency": 0}, "concurrency must be at least 1"),
        ({"max_requests": 5}, "max_requests must be at least 6"),
        ({"endpoints": ["about"]}, "endpoints[0]: wanted a path"),
        ({"base_url": "https://shop.example"}, "TLS is not measured"),
    ],
)
def test_a_bad_argument_puts_no_load_on_anything(profile, params, why):
    result, server = profile(**params)
    assert result["failed"] is True
    assert why in result["msg"]
    assert (result["measured"], server.requests) == (False, [])


def test_an_app_that_answers_nothing_well_is_told_and_no_failure(profile):
    result, server = profile(ok(status="503 Service Unavailable"))
    assert not result.get("failed")
    assert result["msg"] == "0 of 1 endpoints were measured. /: not measured: it answers 503."
    assert len(server.requests) == 1


def test_no_secret_is_returned(profile):
    endpoints = [{"path": "/?token=hunter3", "headers": {"Cookie": "session=hunter4"}}]
    result, server = profile(endpoints=endpoints, headers={"Authorization": "Bearer hunter5"})
    assert b"session=hunter4" in server.requests[0]
    assert b"Bearer hunter5" in server.requests[0]
    shown = {name: value for name, value in result.items() if name != "invocation"}
    assert "hunter" not in json.dumps(shown)
    # Ansible repeats the parameters of the task in one place; it contains the query, and no credential.
    assert not any(secret in json.dumps(result) for secret in ("hunter2", "hunter4", "hunter5"))


def test_every_value_that_is_returned_is_documented(profile):
    result, _server = profile()
    docs = yaml.safe_load(endpoint_profile.RETURN)
    assert set(result) - {"changed", "invocation", "warnings"} == set(docs)
    (endpoint,) = result["endpoints"]
    described = docs["endpoints"]["contains"]
    assert set(endpoint) == set(described)
    assert set(endpoint["loops"][0]) == set(described["loops"]["contains"])
    assert set(docs["endpoints"]["sample"][0]["loops"][0]) == set(described["loops"]["contains"])
    assert yaml.safe_load(endpoint_profile.EXAMPLES)


@pytest.mark.parametrize(
    "error",
    [
        _errors.ArchiveError("systemd-run cannot be run: No such file or directory."),
        _errors.ReleaseError("systemctl show did not end within 60 s."),
        TimeoutError("systemctl did not end within 7200 s."),
    ],
)
def test_a_systemd_that_fails_is_a_message(profile, monkeypatch, error):
    def fail(*_args):
        raise error

    monkeypatch.setattr(stage, "run_in", fail)
    monkeypatch.setattr(slots, "unit_state", fail)
    for endpoints in ([], ["/"]):
        result, _server = profile(endpoints=endpoints)
        assert (result["failed"], result["msg"]) == (True, str(error))
