# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The logs of an app: JSON lines that can be found by a request's id, none of which is lost."""

from __future__ import annotations

import json
import re
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor

from ansible_collections.evenkeel.flask.molecule.shared.testbed import wait_until

USERS = 8
ROTATIONS = 5


def fail_to_log_in(fleet):
    """Request a page that the app logs about; return the response and the request's id."""
    request_id = uuid.uuid4().hex
    form = {"username": "nobody", "password": "wrong"}
    return fleet.ask("app1", "/login?token=hidden", {"X-Request-ID": request_id}, form), request_id


def await_lines(host, log, ids):
    """The lines of some requests, rotated or not. An answer may be there before its line is."""
    found = []

    def complete():
        text = host.see.check_output(f"cd /var/log/storefront && zcat --force {log}.log*")
        lines = map(json.loads, text.splitlines())
        found[:] = [line for line in lines if line["request_id"] in ids]
        return {line["request_id"] for line in found} == ids

    wait_until(complete, f"{log}.log has the lines of {len(ids)} requests")
    return found


def test_a_request_is_found_in_both_logs_by_its_id(fleet, host):
    answer, request_id = fail_to_log_in(fleet)
    assert (answer.status, answer.headers["X-Request-ID"]) == (401, request_id)
    for log in ("access", "app"):
        (line,) = await_lines(host, log, {request_id})
        assert (line["release"], line["slot"]) == (answer.release, host.live_slot)
        assert host.see.process.get(pid=line["worker"]).comm == "gunicorn"


def test_the_logs_have_no_query_string(fleet, host):
    _answer, request_id = fail_to_log_in(fleet)
    (line,) = await_lines(host, "access", {request_id})
    assert line["path"] == "/login"
    assert not host.see.run("grep -rF token=hidden /var/log/storefront").stdout


def test_an_id_that_could_break_a_log_is_replaced(fleet):
    assert fleet.ask("app1", headers={"X-Request-ID": "a b"}).headers["X-Request-ID"].isalnum()


def test_the_logs_are_rotated_by_the_hosts_own_logrotate(host):
    debugged = host.see.run("logrotate --debug /etc/logrotate.conf")
    assert debugged.succeeded
    assert not re.search("^error", debugged.stderr, re.MULTILINE)
    assert "considering log /var/log/storefront/access.log" in debugged.stderr
    assert host.see.service("logrotate.timer").is_running


def test_a_rotation_loses_no_line(fleet, host):
    enough = threading.Event()

    def keep_asking():
        ids = set()
        while not enough.is_set():
            answer, request_id = fail_to_log_in(fleet)
            assert answer.status == 401
            ids.add(request_id)
        return ids

    with ThreadPoolExecutor(USERS) as pool:
        users = [pool.submit(keep_asking) for _number in range(USERS)]
        try:
            for _number in range(ROTATIONS):
                host.see.check_output("logrotate --force /etc/logrotate.d/storefront")
        finally:
            enough.set()
    ids = set().union(*(user.result() for user in users))
    for log in ("access", "app"):
        assert len(await_lines(host, log, ids)) == len(ids)
