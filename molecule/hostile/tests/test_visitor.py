# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An attacker who only sends requests. docs/security.md names these tests."""

from __future__ import annotations

import threading
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest
from ansible_collections.evenkeel.flask.molecule.shared.testbed import wait_until

pytestmark = pytest.mark.usefixtures("members")


# Sessions


def test_an_id_from_before_a_login_is_not_logged_in_by_it(attacker, visitor):
    planted = {"Cookie": attacker.send("/login").headers["Set-Cookie"].partition(";")[0]}
    own = visitor.log_in("ann", planted)
    assert visitor.is_member(own)
    assert not attacker.is_member(planted)


def test_a_stolen_cookie_ends_with_the_logout(attacker, visitor):
    own = visitor.log_in("ann")
    assert attacker.is_member(own)
    assert visitor.send("/logout", own, "").status == 302
    assert not attacker.is_member(own)


def test_a_flood_of_forms_stays_small_in_redis(fleet, attacker):
    redis = fleet.props["data"].see
    password = fleet.secrets["redis_password"]

    def sessions() -> int:
        pattern = "storefront:victim:session:*"
        command = f"redis-cli --no-auth-warning --user storefront --scan --pattern '{pattern}'"
        return len(redis.check_output(f"REDISCLI_AUTH={password} {command}").split())

    before = sessions()
    for _turn in range(40):
        assert attacker.send("/login").status == 200
    assert sessions() - before <= 1


# The cache


@pytest.mark.parametrize("path", ["/", "/about"])
@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "application/json"},
        {"Content-Type": "<script>alert(1)</script>"},
        {"Content-Length": "0"},
        {"X-Forwarded-Prefix": "None"},
        {"X-Forwarded-Prefix": "/evil"},
        {"X-Forwarded-Port": "None"},
        {"X-Forwarded-Port": "<script>"},
        {"X-Forwarded-Host": "evil.example"},
        {"Connection": "keep-alive, X-Evil"},
    ],
    ids=lambda headers: "-".join(next(iter(headers.items()))),
)
def test_no_header_of_one_visitor_changes_the_page_of_another(attacker, visitor, path, headers):
    page = f"{path}?{uuid.uuid4()}"
    unspoiled = visitor.send(f"{path}?{uuid.uuid4()}").text
    attacker.cached(page, headers)
    assert visitor.cached(page).text == unspoiled


def test_a_get_that_writes_takes_effect_each_time(fleet, host, visitor):
    reading = uuid.uuid4().hex
    for _turn in range(20):
        assert visitor.send(f"/log?t={reading}").status == 200
    assert host.see.file("/srv/victim/shared/messages").content_string.count(reading) == 20


# The front


@pytest.mark.parametrize("name", ["evil.example", "shop.example.evil.example", "127.0.0.1", ""])
def test_a_foreign_host_name_does_not_reach_the_app(attacker, name):
    answer = attacker.send("/reset", {"Host": name})
    assert answer.release is None
    assert name == "" or name not in answer.text


def test_the_declared_host_name_is_in_any_case_of_letters(visitor):
    assert visitor.send("/reset", {"Host": "SHOP.example"}).status == 200


@pytest.mark.parametrize(
    "header", ["X-Forwarded-Host", "X-Forwarded-Prefix", "X-Forwarded-Port", "Forwarded"]
)
def test_no_forwarding_header_gets_into_a_link(attacker, header):
    answer = attacker.send("/reset", {header: "host=evil.example"})
    assert "evil" not in answer.text


def statuses(visitors, paths):
    with ThreadPoolExecutor(8) as pool:
        answers = [*pool.map(lambda pair: pair[0].send(pair[1]), zip(visitors, paths))]
    return [answer.status for answer in answers].count(429)


@pytest.mark.parametrize("end", ["../../health", "%2e%2e/%2e%2e/health", "..%2f..%2fHEALTH"])
def test_no_spelling_of_a_path_evades_the_limit(fleet, attacker, end):
    paths = [f"/wiki/{number}/{end}" for number in range(90)]
    # The bucket refills by one request a second.
    assert statuses([attacker] * 90, paths) >= 20


def test_the_addresses_of_one_network_share_a_limit(fleet, attacker):
    network = uuid.uuid4().hex[:4]
    neighbours = [type(attacker)(fleet, f"2001:db8:0:{network}::{n + 1:x}") for n in range(90)]
    assert statuses(neighbours, ["/wiki/a"] * 90) >= 20


def test_no_log_of_the_host_keeps_a_secret_of_a_request(host, attacker):
    secrets = {
        place: uuid.uuid4().hex for place in ("query", "referrer", "cookie", "header", "body")
    }
    headers = {
        "Referer": f"https://a.example/?code={secrets['referrer']}",
        "Cookie": f"session={secrets['cookie']}",
        "Authorization": f"Bearer {secrets['header']}",
    }
    for path in ("/", "/fail", "/no-such-page", "/login"):
        for body in (None, f"name={secrets['body']}"):
            attacker.send(f"{path}?token={secrets['query']}", headers, body)
    # Over the limit nginx logs by itself.
    paths = [f"/?token={secrets['query']}"] * 90
    assert statuses([attacker] * 90, paths)
    wait_until(
        lambda: "/no-such-page" in host.see.file("/var/log/victim/access.log").content_string,
        "the log has the requests",
    )
    for place, secret in secrets.items():
        found = host.see.run(f"grep -rl {secret} /var/log /srv/victim /run/victim")
        assert found.stdout == "", place
        journal = host.see.run(f"journalctl --no-pager | grep -c {secret}")
        assert journal.stdout.strip() == "0", place


# The rollout and its operator


def test_one_visitor_can_neither_stop_a_rollout_nor_write_to_the_terminal(
    fleet, host, attacker, another_release
):
    is_over = threading.Event()
    text = "%1b]0;owned%07%1b[2J%c2%9b31m%e2%80%ae"
    before = host.live_slot

    def attack() -> None:
        """Begin at the switch: then the new release alone has these failures."""
        wait_until(lambda: host.live_slot != before or is_over.is_set(), "the first host switches")
        turn = 0
        while not is_over.wait(0.02):
            turn += 1
            attacker.send(f"/fail?text={text}{turn}", {"X-Request-ID": uuid.uuid4().hex})
            attacker.send(f"/{text}{turn}")

    attacks = threading.Thread(target=attack, daemon=True)
    attacks.start()
    try:
        play = fleet.play_under_load("rollout", *another_release)
    finally:
        is_over.set()
        attacks.join()
    assert play.status == 0
    assert play.users.failed == 0
    shown = play.said + fleet.play("status").said
    assert not set(shown) & {"\x1b", "\x07", "\x9b", "\u202e"}
