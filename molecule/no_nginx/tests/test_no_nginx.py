# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Without nginx on the host, the app is reached by its live socket, and released as ever."""

from __future__ import annotations

ASK = """\
import http.client, socket, sys
connection = http.client.HTTPConnection('localhost')
connection.sock = socket.socket(socket.AF_UNIX)
connection.sock.connect('/srv/httpbin/live.sock')
connection.request('GET', '/status/204')
print(connection.getresponse().status)
"""


def ask_as(host, group):
    return host.see.run(f"setpriv --reuid nobody --regid {group} --clear-groups python3 -c %s", ASK)


def test_there_is_no_nginx(host):
    assert not host.see.package("nginx").is_installed


def test_a_front_in_the_apps_group_reaches_the_live_slot(host):
    assert ask_as(host, "httpbin").stdout == "204\n"


def test_nobody_else_reaches_it(host):
    assert "PermissionError" in ask_as(host, "nogroup").stderr


def test_a_rollout_is_proven_and_switched_by_the_sockets(fleet, host):
    before = host.live_slot
    play = fleet.play("rollout", "--extra-vars", '{"flask_app_env": {"ANOTHER": "release"}}')
    assert play.status == 0
    assert "READY FOR PRODUCTION" in play.said
    assert host.live_slot != before
    assert host.runs_the_live_slot_alone
    assert ask_as(host, "httpbin").stdout == "204\n"
