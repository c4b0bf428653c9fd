# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The team's actions at the steps of a rollout: tasks, commands and webhooks."""

from __future__ import annotations

import json
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest

STEPS = [
    "build",
    "before_migrate",
    "after_migrate",
    "before_switch",
    "after_switch",
    "success",
    "failure",
]
NOTE = 'echo "$EVENKEEL_STEP $EVENKEEL_APP $EVENKEEL_HOSTS ${EVENKEEL_RELEASE:-none}" >> calls'
TASKS = """\
- name: Leave a mark
  ansible.builtin.file: {path: /run/hooked, state: touch, mode: "0644"}
"""


class Chat:
    """A webhook on loopback, and the messages that it received."""

    def __init__(self):
        chat = self
        self.received = []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                chat.received.append(json.loads(body))
                self.send_response(204)
                self.end_headers()

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}/secret-path"


@pytest.fixture(scope="module")
def chat():
    chat = Chat()
    yield chat
    chat.server.shutdown()
    chat.server.server_close()


@pytest.fixture(scope="module")
def release(fleet):
    """Rolls another release out with hooks."""

    def roll_out(note, hooks, **more):
        fleet.lay_out("v2")
        (fleet.folder / "storefront" / "NOTES").write_text(note)
        return fleet.play("rollout", "--extra-vars", json.dumps({"rollout_hooks": hooks, **more}))

    yield roll_out
    (fleet.folder / "calls").unlink(missing_ok=True)


@pytest.fixture(scope="module")
def called(fleet, chat, release):
    hooks = {step: {"command": ["sh", "-c", NOTE]} for step in STEPS}
    hooks["success"]["webhook"] = chat.url
    hooks["before_switch"]["tasks"] = "mark.yml"
    (fleet.folder / "mark.yml").write_text(TASKS)
    play = release("with hooks\n", hooks)
    calls = [line.split() for line in (fleet.folder / "calls").read_text().splitlines()]
    return play, calls


def test_hooks_are_called_in_order(called):
    play, calls = called
    assert play.status == 0
    batches = ["before_switch", "after_switch"] * 2
    assert [call[0] for call in calls] == [*STEPS[:3], *batches, "success"]


def test_a_command_is_told_what_it_is_about(fleet, called):
    _play, calls = called
    release = fleet.ask("app1").release
    assert calls[0] == ["build", "storefront", "app1", "app2", "none"]
    assert calls[3] == ["before_switch", "storefront", "app1", release]


def test_tasks_are_run_on_the_hosts(fleet, called):
    for host in fleet.hosts.values():
        assert host.see.file("/run/hooked").exists


def test_a_webhook_is_told_and_its_address_shown_nowhere(fleet, called, chat):
    play, _calls = called
    (message,) = chat.received
    assert (message["EVENKEEL_STEP"], message["EVENKEEL_RELEASE"]) == (
        "success",
        fleet.ask("app1").release,
    )
    assert message["text"].startswith("storefront success ")
    assert chat.url not in play.said


def test_a_command_that_fails_before_the_switch_keeps_the_release_from_users(
    fleet, called, release
):
    before = fleet.releases()
    play = release("with a hook that fails\n", {"before_switch": {"command": ["false"]}})
    assert play.status != 0
    assert fleet.releases() == before
    for host in fleet.hosts.values():
        assert host.runs_the_live_slot_alone


def test_a_webhook_that_does_not_answer_stops_nothing(fleet, called, release):
    before = fleet.releases()
    play = release("with a chat that is down\n", {"success": {"webhook": "http://127.0.0.1:1/"}})
    assert play.status == 0
    assert fleet.releases().isdisjoint(before)


def test_a_rollout_waits_for_a_yes_and_takes_silence_for_none(fleet, called, release):
    before = fleet.releases()
    play = release("nobody is there\n", {}, rollout_pause_after="canary")
    assert play.status != 0
    assert "Nobody said yes" in play.said
    assert fleet.releases() == before


def test_a_command_says_yes_where_nobody_is_there(fleet, called, release):
    before = fleet.releases()
    asked = {"rollout_pause_command": ["grep", "-q", "hooked", "mark.yml"]}
    play = release("a command is there\n", {}, rollout_pause_after="canary", **asked)
    assert play.status == 0
    assert fleet.releases().isdisjoint(before)
