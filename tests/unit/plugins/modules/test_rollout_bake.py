# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The bake as a task sees it; what needs a running systemd is in the molecule tests."""

from __future__ import annotations

import json

import pytest
from ansible_collections.evenkeel.flask.plugins.module_utils._release import slots
from ansible_collections.evenkeel.flask.plugins.modules import rollout_bake
from ansible_collections.evenkeel.flask.tests.unit.plugins.loopback import ok, serving
from ansible_collections.evenkeel.flask.tests.unit.plugins.run_module import run_module


@pytest.fixture(name="bake")
def _bake(tmp_path, monkeypatch):
    monkeypatch.setattr(slots, "_state", lambda *_slot: "active")
    monkeypatch.setattr(slots, "unit_state", lambda *_slot: {"ActiveState": "active"})

    def run(answer, **params):
        with serving(answer) as server:
            known = {"name": "shop", "release": "2-b", "seconds": 0, "base_url": server.url}
            folders = {"root": str(tmp_path), "log_directory": str(tmp_path)}
            return run_module(rollout_bake, **{**known, **folders, **params}), server

    return run


def test_a_release_that_is_well_passes(bake):
    result, server = bake(ok(), headers={"Host": "shop.example"})
    assert not result.get("failed")
    assert (result["changed"], result["after"]["requests"]) == (False, 0)
    assert b"Host: shop.example" in server.requests[0]


def test_one_that_is_not_fails_the_task_with_its_figures(bake):
    result, _server = bake(ok(status="503 Service Unavailable"))
    assert result["failed"] is True
    assert result["msg"] == "The bake went badly: /health: 503, wanted 200."
    assert result["after"]["requests"] == 0


def test_new_errors_are_told_in_a_warning(bake, tmp_path):
    record = {"time": "9", "release": "2-b", "level": "ERROR", "logger": "a", "message": "no"}

    def answer(*_asked):
        (tmp_path / "app.log").write_text(json.dumps(record) + "\n")
        return ok()

    result, _server = bake(answer)
    assert result["new_errors"] == ["a: no, 1 times"]
    assert not result.get("failed")


def test_a_bad_argument_is_no_verdict(bake):
    result, _server = bake(ok(), base_url="127.0.0.1")
    assert result["failed"] is True
    assert "before" not in result


def test_another_apps_release_on_the_port_fails_the_task_and_is_not_judged(bake):
    result, _server = bake(ok(X_Release="3-c"))
    assert result["msg"] == (
        "The bake went badly: /health: release 3-c answers instead of 2-b; another app may have this port of nginx "
        "(flask_app_port)."
    )
    assert not bake(ok(X_Release="2-b"))[0].get("failed")
