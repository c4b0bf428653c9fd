# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Eight checks on a small shop: a sound one passes, and each fault is caught by its own check."""

from __future__ import annotations

import re

import pytest
from ansible_collections.evenkeel.flask.plugins.module_utils._gate import verdict as gate_verdict
from ansible_collections.evenkeel.flask.plugins.module_utils._gate.check import (
    CheckContext,
    HttpTarget,
)
from ansible_collections.evenkeel.flask.plugins.module_utils._gate.verdict import Result
from ansible_collections.evenkeel.flask.plugins.module_utils._http.client import Deadline, Url
from ansible_collections.evenkeel.flask.tests.unit.plugins.loopback import serving, silent
from ansible_collections.evenkeel.flask.tests.unit.plugins.shop import LIMIT, Shop


def with_defaults(spec, given):
    """Settings as Ansible hands them to the module."""
    settings = {}
    for name, option in spec.items():
        value = (given or {}).get(name, option.get("default"))
        if option["type"] == "dict" and "options" in option:
            if value is not None or option.get("apply_defaults"):
                value = with_defaults(option["options"], value)
        elif option.get("elements") == "dict" and value:
            value = [with_defaults(option["options"], item) for item in value]
        settings[name] = value
    return settings


FULL = {
    "main_page": {"contains": "Welcome"},
    "api": {
        "endpoints": [
            {"path": "/api/products", "json": {"page": 1, "products.0.name": "<string>"}},
            {"path": "/api/products", "method": "POST", "body_json": {"a": 1}, "status": [201]},
        ]
    },
    "upload": {"path": "/upload", "read_back": "url", "delete": True, "max_bytes": LIMIT},
    "session": {
        "login": {"path": "/login", "form": {"username": "demo", "password": "right"}},
        "check": {"path": "/account", "contains": "demo"},
        "httponly": True,
        "secure": True,
        "samesite": "Lax",
    },
    "errors": {"bad_body": {"path": "/api/products"}, "wrong_method": {"path": "/health"}},
}

# The team's own tests are run from the controller.
ON_HOST = set(gate_verdict.CHECKS) - {"suite"}
QUICK = {**FULL, "response_times": {"enabled": False}}


def gate(shop, live=None, checks=None, deadline=60, timeout=5, **more):
    limit = Deadline(deadline)
    settings = with_defaults(gate_verdict.CHECKS_SPEC, FULL if checks is None else checks)
    with serving(shop) as server, serving(live or Shop()) as other:
        candidate = HttpTarget(Url.parse(server.url), limit, timeout=timeout)
        beside = HttpTarget(Url.parse(other.url), limit, timeout=timeout) if live else None
        return gate_verdict.run(CheckContext(candidate, beside, **more), settings)


def outcomes(results, outcome):
    return {result.name for result in results if result.outcome == outcome}


def test_a_sound_shop_passes_all_eight():
    shop = Shop()
    results = gate(shop)
    assert outcomes(results, "passed") == ON_HOST, gate_verdict.message(results)
    assert gate_verdict.verdict(results) == "passed"
    assert shop.files == {}


def test_a_session_of_the_live_release_survives_the_switch():
    results = gate(Shop(), live=Shop(), checks=QUICK)
    assert gate_verdict.verdict(results) == "passed"
    assert "survives the switch" in next(r.reason for r in results if r.name == "session")


def test_a_session_that_the_candidate_does_not_know_fails_it():
    results = gate(Shop("other secret"), live=Shop(), checks=QUICK)
    assert outcomes(results, "failed") == {"session"}
    assert "users would be logged out" in next(r.reason for r in results if r.name == "session")


def test_a_live_release_that_lets_nobody_log_in_does_not_stop_the_one_that_mends_it():
    results = gate(Shop(), live=Shop("login"), checks=QUICK)
    assert gate_verdict.verdict(results) == "passed"
    assert [text for result in results for text in result.warnings] == [
        "whether a session survives the switch is not known: login at the live release: 500, "
        "wanted 200 or 302 or 303"
    ]


@pytest.mark.parametrize(
    ("fault", "check", "reason"),
    [
        ("flapping", "health", "answer 3 of 3: 503, wanted 200"),
        ("empty page", "main_page", "body does not contain 'Welcome'"),
        ("debugger", "main_page", "body does not contain 'Welcome'"),
        ("asset", "main_page", "1 of 2 assets do not load: /static/shop.css: 404"),
        (
            "css is text",
            "main_page",
            "1 of 2 assets do not load: /static/shop.css: text/plain; charset=utf-8, wanted text/css",
        ),
        ("api", "api", "GET /api/products: body is no JSON"),
        ("json is html", "api", "GET /api/products: JSON that calls itself text/html"),
        ("upload", "upload", "500, wanted 200 or 201"),
        ("damaged", "upload", "reading back: 75 other bytes came than were uploaded"),
        ("no limit", "upload", f"a file above {LIMIT} bytes: 201, wanted 413"),
        (
            "limit breaks",
            "upload",
            f"a file above {LIMIT} bytes: connection closed without an answer, wanted 413",
        ),
        (
            "small limit",
            "upload",
            f"a request of {LIMIT * 99 // 100} bytes: 413, wanted 200 or 201",
        ),
        (
            "localhost",
            "session",
            "login: 302 leads visitors to their own machine ('http://localhost:5000/account')",
        ),
        (
            "public",
            "session",
            "/account may be kept by caches for others (Cache-Control: public, max-age=60)",
        ),
        (
            "kept for all alike",
            "session",
            "/account may be kept by caches for others (Cache-Control: max-age=60)",
        ),
        ("one worker", "session", "read N of 10: 302 to '/login', wanted 200"),
        ("forged", "session", "/account answers a forged cookie like a session"),
        ("open", "session", "/account answers no session like a session"),
        ("cookie", "session", "cookie session is not secure"),
        ("traceback", "errors", "unknown path: the answer shows a traceback"),
        (
            "version",
            "errors",
            "unknown path: the answer shows the version of Werkzeug in the header Server",
        ),
        (
            "debugger's script",
            "errors",
            "Werkzeug's debugger answers, with which visitors run code on the host",
        ),
        ("soft 404", "errors", "unknown path: 200, wanted 404"),
        ("any method", "errors", "wrong method: 200, wanted 405"),
        ("bad body", "errors", "bad body: 500, wanted 400 or 415 or 422"),
    ],
)
def test_a_fault_is_caught_by_its_check_and_by_no_other(fault, check, reason):
    # These two also request the health endpoint, which would shift the flapping.
    quiet = {"response_times": {"enabled": False}, "concurrency": {"enabled": False}}
    results = gate(Shop(fault), checks={**FULL, **quiet})
    assert outcomes(results, "failed") == {check}
    found_reason = next(r.reason for r in results if r.name == check)
    # Several read at once, and any of them may meet the worker.
    assert re.sub(r"^read \d+", "read N", found_reason) == reason
    assert gate_verdict.verdict(results) == "failed"


def test_a_page_that_is_not_compressed_any_more_fails():
    results = gate(Shop("not compressed"), live=Shop(), checks=QUICK)
    assert outcomes(results, "failed") == {"main_page"}
    assert (
        gate_verdict.verdict(
            gate(Shop("not compressed"), live=Shop("not compressed"), checks=QUICK)
        )
        == "passed"
    )


def test_a_cookie_that_lost_what_protects_it_fails():
    checks = {**QUICK, "session": {**FULL["session"], "samesite": None}}
    results = gate(Shop("samesite"), live=Shop(), checks=checks)
    assert [(r.name, r.reason) for r in results if r.outcome == "failed"] == [
        ("session", "cookie session is without samesite, which the live release's has")
    ]
    assert gate_verdict.verdict(gate(Shop(), live=Shop("samesite"), checks=checks)) == "passed"


@pytest.mark.parametrize(
    ("fault", "warning"),
    [
        (
            "health says yes",
            "/health answers like any path below it; it may say yes whatever happens",
        ),
        ("kept", "/uploads/0 was left behind: DELETE answered 405"),
        (
            "any host",
            "a request with a foreign Host is answered by 200, so visitors choose the host of the app's external "
            "URLs; set nginx_server_names to the app's names",
        ),
    ],
)
def test_what_does_not_stop_a_release_is_a_warning(fault, warning):
    results = gate(Shop(fault))
    assert gate_verdict.verdict(results) == "passed"
    assert [text for result in results for text in result.warnings] == [warning]


def test_the_release_of_another_app_on_the_port_is_refused():
    results = gate(Shop("other release"), checks=QUICK, release="2-b")
    assert {r.name: r.reason for r in results if r.outcome == "failed"} == {
        "health": "release 3-c answers instead of 2-b; another app has this port of nginx (flask_app_port, "
        "nginx_candidate_port)"
    }
    assert (
        gate_verdict.verdict(gate(Shop("other release"), checks=QUICK, release="3-c")) == "passed"
    )
    # An answer that names none proves nothing.
    assert gate_verdict.verdict(gate(Shop(), checks=QUICK, release="2-b")) == "passed"


def test_nothing_is_written_where_nothing_is_named():
    shop = Shop()
    results = gate(shop, checks={})
    assert outcomes(results, "skipped") == {"api", "upload", "session", "suite"}
    assert {request.split(" ")[0] for request in shop.asked} == {"GET"}


def test_nothing_is_written_in_check_mode():
    shop = Shop()
    results = gate(shop, may_write=False)
    assert outcomes(results, "skipped") == {"upload", "session", "suite"}
    assert {request.split(" ")[0] for request in shop.asked} == {"GET"}


def test_a_check_that_is_switched_off_is_skipped():
    results = gate(Shop(), checks={name: {"enabled": False} for name in gate_verdict.CHECKS})
    assert outcomes(results, "skipped") == set(gate_verdict.CHECKS)
    assert gate_verdict.verdict(results) == "inconclusive"


def test_answers_that_are_mixed_up_are_noticed():
    class MixedUp(Shop):
        def main(self, method, path, given, body):
            if "X-Request-ID" in given:
                return self.health(method, "/health", given, body)
            return super().main(method, path, given, body)

    results = gate(MixedUp(), checks={**FULL, "response_times": {"enabled": False}})
    assert outcomes(results, "failed") == {"concurrency"}
    assert "belongs to another request" in gate_verdict.message(results)


def test_ten_at_once_are_really_at_once():
    class Waiting(Shop):
        """Answers the crowd only when all of it is there."""

        def __call__(self, conn, raw):
            if b"X-Request-ID" in raw:
                self.crowd.wait(timeout=5)
            return super().__call__(conn, raw)

    results = gate(Waiting(), checks={"response_times": {"enabled": False}})
    assert "concurrency" in outcomes(results, "passed")


def test_what_the_gate_had_no_time_for_is_inconclusive():
    results = gate(silent, deadline=0.3)
    assert outcomes(results, "inconclusive") == ON_HOST
    assert gate_verdict.verdict(results) == "inconclusive"


def test_a_candidate_that_is_silent_fails():
    results = gate(silent, checks={}, timeout=0.1)
    assert outcomes(results, "failed") == {
        "health", "main_page", "response_times", "concurrency", "errors",
    }  # fmt: skip


def results_of(**outcome):
    return [Result(name, name.title(), result, f"why {name}") for name, result in outcome.items()]


@pytest.mark.parametrize(
    ("results", "verdict", "rate"),
    [
        (results_of(a="passed", b="passed"), "passed", 100.0),
        (results_of(a="passed", b="skipped"), "passed", 100.0),
        (results_of(a="passed", b="failed"), "failed", 50.0),
        (results_of(a="failed", b="inconclusive"), "failed", 0.0),
        (results_of(a="passed", b="inconclusive"), "inconclusive", 100.0),
        (results_of(a="skipped", b="skipped"), "inconclusive", 0.0),
        ([], "inconclusive", 0.0),
    ],
)
def test_the_verdict_is_never_a_guess(results, verdict, rate):
    assert (gate_verdict.verdict(results), gate_verdict.pass_rate(results)) == (verdict, rate)


def test_the_summary_reads_as_people_know_it():
    assert gate_verdict.summary(results_of(a="passed", b="failed", c="skipped")) == [
        "PASS A: why a",
        "FAIL B: why b",
        "SKIP C: why c",
        "Passed: 1",
        "Failed: 1",
        "Skipped: 1",
        "Pass rate: 50%",
        "NOT READY FOR PRODUCTION",
    ]


def test_the_message_names_what_stands_against_the_candidate():
    assert gate_verdict.message(results_of(a="passed", b="failed")) == (
        "The candidate is not ready: B failed (why b)."
    )
    assert (
        gate_verdict.message(results_of(a="skipped"))
        == "The candidate is not ready: no check was run."
    )
