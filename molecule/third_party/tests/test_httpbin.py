# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An app that knows nothing of this collection, as its users find it."""

from __future__ import annotations

import json


def test_the_app_learns_how_it_was_asked(fleet):
    received = fleet.ask("app1", "/get?answer=42").json
    assert received["url"] == f"{fleet.urls['app1']}/get?answer=42"
    assert received["args"] == {"answer": "42"}


def test_the_app_learns_who_asked_and_believes_no_forged_address(fleet):
    seen = fleet.ask("app1", "/ip").json["origin"]
    assert seen
    assert fleet.ask("app1", "/ip", {"X-Forwarded-For": "192.0.2.1"}).json["origin"] == seen


def test_pages_are_compressed(fleet):
    answer = fleet.ask("app1", "/html", {"Accept-Encoding": "gzip"})
    assert (answer.status, answer.headers["Content-Encoding"]) == (200, "gzip")


def test_the_apps_own_statuses_and_headers_come_through(fleet):
    answer = fleet.ask("app1", "/status/418")
    assert answer.status == 418
    assert answer.headers["X-More-Info"] == "http://tools.ietf.org/html/rfc2324"


def test_a_stream_comes_through(fleet):
    assert len(fleet.ask("app1", "/stream/20").text.splitlines()) == 20


def test_users_are_not_told_the_release(fleet):
    assert fleet.ask("app1", "/get").release is None


def test_nothing_but_the_inventory_deployed_it(host):
    assert host.see.file(f"{host.live_folder}/app").listdir() == ["instance"]
    assert host.runs_the_live_slot_alone


def test_the_cloudwatch_agent_is_told_where_the_logs_are(host):
    folder = host.see.file("/opt/aws/amazon-cloudwatch-agent/etc/amazon-cloudwatch-agent.d")
    config = json.loads(host.see.file(f"{folder.path}/httpbin.json").content_string)
    for log in config["logs"]["logs_collected"]["files"]["collect_list"]:
        assert host.see.file(log["file_path"]).size > 0
