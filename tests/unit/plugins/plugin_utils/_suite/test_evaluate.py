# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the team's tests come to: no failure is missed, and nothing that was not tested is a pass."""

from __future__ import annotations

import pytest
from ansible_collections.evenkeel.flask.plugins.module_utils._gate.check import (
    Failed,
    Inconclusive,
    NotPassed,
    Passed,
)
from ansible_collections.evenkeel.flask.plugins.plugin_utils._suite import evaluate
from ansible_collections.evenkeel.flask.plugins.plugin_utils._suite.evaluate import (
    Case,
    Policy,
    SuiteRun,
)
from hypothesis import example, given
from hypothesis import strategies as st

PASSING = '<testcase classname="tests.test_shop" name="test_cart"/>'
FAILING = (
    '<testcase classname="tests.test_shop" name="test_login">'
    '<failure message="assert 500 == 200&#10; +  where 500 = status">trace</failure></testcase>'
)
SKIPPED = '<testcase classname="tests.test_shop" name="test_pay"><skipped/></testcase>'


def report(*cases, **attributes):
    said = " ".join(f'{name}="{value}"' for name, value in attributes.items())
    return f"<testsuites><testsuite {said}>{''.join(cases)}</testsuite></testsuites>".encode()


def ruling(act, *args):
    """The outcome and the reason, as a result has them."""
    try:
        return "passed", act(*args).detail
    except NotPassed as how:
        return how.outcome, str(how)


def cases(**outcomes):
    return [
        Case("t", name.replace("__", "[1]"), outcome, f"{name} broke")
        for name, outcome in outcomes.items()
    ]


@pytest.mark.parametrize(
    ("case", "outcome"),
    [
        ("<testcase/>", "passed"),
        ("<testcase><system-out>failure</system-out></testcase>", "passed"),
        ("<testcase><flakyFailure/></testcase>", "passed"),
        ("<testcase><failure/></testcase>", "failed"),
        ("<testcase><error/></testcase>", "failed"),
        ("<testcase><failure/><skipped/></testcase>", "failed"),
        ("<testcase><skipped/><error/></testcase>", "failed"),
        ("<testcase><skipped/></testcase>", "skipped"),
        ('<testcase status="notrun"/>', "skipped"),
        ('<testcase status="disabled"/>', "skipped"),
        ('<testcase status="run"/>', "passed"),
    ],
)
def test_each_test_is_read_as_it_ended(case, outcome):
    assert [one.outcome for one in evaluate.parse(report(case))] == [outcome]


def test_names_and_messages_are_read():
    (case,) = evaluate.parse(report(FAILING))
    assert (case.id, case.name) == ("tests.test_shop::test_login", "test_login")
    assert case.message.startswith("assert 500 == 200")


@pytest.mark.parametrize(
    ("text", "failed"),
    [
        ('<testsuite errors="1" name="login.spec"/>', ["login.spec"]),
        ('<testsuites errors="1"><testsuite><testcase/></testsuite></testsuites>', ["a suite wit"]),
        (f'<testsuite failures="1">{FAILING}</testsuite>', ["test_login"]),
        (
            f'<testsuites failures="2"><testsuite name="a" failures="1" errors="1">{FAILING}</testsuite></testsuites>',
            ["test_login", "a"],
        ),
        ('<testsuite failures="many" errors=""/>', []),
        ('<testsuite failures="99999999999999999999"/>', []),
        ('<testsuite failures="1"><testcase name="x"><error/><failure/></testcase></testsuite>', ["x"]),
    ],
)  # fmt: skip
def test_a_failure_that_only_the_suite_tells_of_counts(text, failed):
    names = [case.name[:11] for case in evaluate.parse(text.encode()) if case.outcome == "failed"]
    assert names == failed


BOMB = (
    b'<!DOCTYPE b [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;">]><testsuite><testcase/>&b;</testsuite>'
)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b"", "no XML"),
        (b"tests passed", "no XML"),
        (report(PASSING)[:-5], "no XML"),
        (b"<html/>", "its first element is html"),
        (b"<testcase/>", "its first element is testcase"),
        (BOMB, "it has a DOCTYPE"),
        (b'<!DOCTYPE t SYSTEM "file:///etc/passwd"><testsuite/>', "it has a DOCTYPE"),
        (b"<testsuite>&nosuch;</testsuite>", "no XML"),
        (b'<?xml version="1.0" encoding="nosuch"?><testsuite/>', "no XML"),
        (b'<?xml version="1.0" encoding="utf-7"?><testsuite/>', "no XML"),
        (b"<testsuite>\xff</testsuite>", "no XML"),
        (b"<testsuite>\0</testsuite>", "no XML"),
    ],
)
def test_what_is_no_report_or_could_harm_is_refused(text, why):
    with pytest.raises(evaluate.InvalidReport, match=why):
        evaluate.parse(text)


PIECES = st.sampled_from(
    [
        b"<testsuites>", b"</testsuites>", b"<testsuite errors='1' name='s'>", b"</testsuite>",
        b"<testcase name='x'>", b"</testcase>", b"<testcase/>", b"<failure/>", b"<skipped/>",
        b"<error>", b"</error>", b"<!DOCTYPE t>", b"<!ENTITY a 'b'>", b"&a;", b"<![CDATA[", b"]]>",
        b"<?xml version='1.0' encoding='utf-16'?>", b"\xff\xfe", b"\xe9", b"text", b"<!--",
    ]
)  # fmt: skip


@given(st.one_of(st.binary(), st.lists(PIECES, max_size=12).map(b"".join)))
@example(b"<?xml version='1.0' encoding='cp037'?><testsuite/>")
@example("<?xml version='1.0' encoding='utf-16'?><testsuite/>".encode("utf-16"))
@example(b"<testsuite>" * 2_000)
def test_no_report_is_too_broken(text):
    how, reason = ruling(evaluate.evaluate_report, text, "r.xml", Policy())
    assert how in ("passed", "failed", "inconclusive")
    assert "\n" not in reason


@pytest.mark.parametrize(
    ("outcomes", "policy", "outcome", "reason"),
    [
        ({"a": "passed"}, {}, "passed", "1 test passed"),
        ({"a": "passed", "b": "passed", "c": "skipped"}, {}, "passed", "2 tests passed, 1 skipped"),
        ({"a": "passed", "b": "failed"}, {}, "failed", "1 of 2 tests failed: b; the first says: b broke"),
        (
            {"a": "failed", "b": "failed", "c": "skipped", "d": "passed"}, {},
            "failed", "2 of 3 tests failed: a, b; 1 skipped; the first says: a broke",
        ),
        ({}, {}, "inconclusive", "the suite is empty: there is no test in it"),
        ({"a": "skipped", "b": "skipped"}, {}, "inconclusive", "nothing was tested: 2 skipped"),
        ({"a": "passed", "b": "failed"}, {"allowed_failures": ["b"]}, "passed", "1 test passed"),
        ({"a": "passed", "b": "failed"}, {"allowed_failures": ["t::b"]}, "passed", "1 test passed"),
        ({"a": "passed", "bc": "failed"}, {"allowed_failures": ["b*"]}, "passed", "1 test passed"),
        ({"a": "passed", "b__": "failed"}, {"allowed_failures": ["b[1]"]}, "passed", "1 test passed"),
        (
            {"a": "passed", "bc": "failed"}, {"allowed_failures": ["b", "t::", "B*"]},
            "failed", "1 of 2 tests failed: bc; the first says: bc broke",
        ),
        (
            {"a": "failed"}, {"allowed_failures": ["*"]},
            "inconclusive", "no test passed: 1 test failed as allowed_failures lets them",
        ),
        (
            {"a": "failed", "b": "skipped"}, {"min_pass_rate": 0.1},
            "failed", "1 of 1 test failed, 0% passed where 0.1% are wanted: a; 1 skipped; the first says: a broke",
        ),
        ({"a": "passed", "b": "failed"}, {"min_pass_rate": 50}, "passed", "1 test passed"),
        # Neither what was skipped nor what is allowed makes the others weigh less.
        (
            {"a": "passed", "b": "failed", "c": "skipped", "d": "failed"},
            {"min_pass_rate": 51, "allowed_failures": ["d"]},
            "failed", "1 of 3 tests failed, 50% passed where 51% are wanted: b; 1 skipped; the first says: b broke",
        ),
    ],
)  # fmt: skip
def test_the_policy_decides(outcomes, policy, outcome, reason):
    assert ruling(evaluate.evaluate, cases(**outcomes), Policy(**policy)) == (outcome, reason)


def test_failures_that_are_let_through_are_warnings():
    finding = evaluate.evaluate(
        cases(a="passed", b="passed", c="failed", d="failed"),
        Policy(min_pass_rate=60, allowed_failures=["d"]),
    )
    assert finding.warnings == (
        "1 of 4 tests failed, as min_pass_rate lets them (c)",
        "1 test failed, as allowed_failures lets them (d)",
    )
    assert finding.measured == {"tests": {"passed": 2, "failed": 2, "skipped": 0}}


def test_names_are_few_and_on_one_line():
    many = [Case("", f"test_{number}\n{'x' * 300}", "failed") for number in range(9)]
    with pytest.raises(Failed) as how:
        evaluate.evaluate([*many, *many], Policy())
    assert str(how.value).startswith("18 of 18 tests failed: test_0 xxx")
    assert str(how.value).endswith("…, and 4 more")
    assert len(str(how.value)) < 1000
    assert how.value.measured["tests"]["failed"] == 18


COLLECTION = "E   ModuleNotFoundError: No module named 'requests'\n==== 1 error in 0.1s ===="


@pytest.mark.parametrize(
    ("run", "outcome", "reason"),
    [
        (SuiteRun(0, "", report(PASSING)), "passed", "1 test passed"),
        (SuiteRun(1, "", report(PASSING, FAILING)), "failed", "1 of 2 tests failed: test_login; the first says: "),
        (SuiteRun(0, "", report(FAILING)), "failed", "1 of 1 test failed"),
        (SuiteRun(1, "ok\nCoverage is 80%\n", report(PASSING)), "failed", "1 test passed, and pytest ended with status 1: Cov"),
        (SuiteRun(0, "", report(SKIPPED)), "inconclusive", "nothing was tested"),
        (SuiteRun(0, "", report()), "inconclusive", "the suite is empty"),
        (SuiteRun(5, "", report()), "inconclusive", "the suite is empty: pytest found no test"),
        (SuiteRun(2, COLLECTION, report(FAILING)), "inconclusive",
         "pytest could not run the tests: ModuleNotFoundError: No module named 'requests'; list what"),
        (SuiteRun(2, "Interrupted\n", report(PASSING)), "inconclusive", "pytest could not run the tests: Interrupted"),
        (SuiteRun(3, "", report(PASSING)), "inconclusive", "pytest could not run the tests: it said nothing"),
        (SuiteRun(4, "ERROR: usage: x\n\nbye", None), "inconclusive", "pytest could not run the tests: ERROR: usage: x"),
        (SuiteRun(1, "python: No module named pytest", None), "inconclusive", "pytest could not run the tests: "
         "python: No module named pytest; list what the tests need in checks.suite.requirements, pytest among it"),
        (SuiteRun(0, "", None), "inconclusive", "pytest could not run the tests"),
        (SuiteRun(0, "", b"<testsuites>"), "inconclusive", "pytest's report cannot be read"),
        (SuiteRun(None, "", report(PASSING)), "inconclusive", "pytest was not done in 9 s (checks.suite.timeout)"),
        (SuiteRun(-9, "", report(PASSING)), "inconclusive", "pytest was ended by signal 9"),
    ],
)  # fmt: skip
def test_pytest_passes_only_by_tests_that_were_run(run, outcome, reason):
    how, said = ruling(evaluate.evaluate_pytest, run, Policy(), 9)
    assert how == outcome
    assert said.startswith(reason)


def test_a_failing_test_that_is_allowed_does_not_fail_pytest():
    allowed = Policy(allowed_failures=["test_login"])
    run = SuiteRun(1, "", report(PASSING, FAILING))
    assert ruling(evaluate.evaluate_pytest, run, allowed, 9) == ("passed", "1 test passed")


@pytest.mark.parametrize(
    ("run", "outcome", "reason"),
    [
        (SuiteRun(0), "passed", "make ended with status 0"),
        (SuiteRun(2, "a\nmake: *** [gate] Error 1\n"), "failed", "make ended with status 2: make: *** [gate] Error 1"),
        (SuiteRun(-15), "inconclusive", "make was ended by signal 15"),
        (SuiteRun(None), "inconclusive", "make was not done in 9 s (checks.suite.timeout), and was ended"),
    ],
)  # fmt: skip
def test_a_command_passes_by_its_exit_status_alone(run, outcome, reason):
    assert ruling(evaluate.evaluate_command, "make", run, 9) == (outcome, reason)


@pytest.mark.parametrize(
    ("text", "outcome", "reason"),
    [
        (report(PASSING), Passed, ""),
        (None, Inconclusive, "r.xml is not there"),
        (b"", Inconclusive, "r.xml is no JUnit report: it is no XML"),
        (BOMB, Inconclusive, "r.xml is no JUnit report: it has a DOCTYPE"),
        (report(), Inconclusive, "the suite is empty"),
        (report(FAILING), Failed, "1 of 1 test failed"),
    ],
)
def test_a_report_made_elsewhere_is_judged_alike(text, outcome, reason):
    if outcome is Passed:
        assert evaluate.evaluate_report(text, "r.xml", Policy()).detail == "1 test passed"
    else:
        with pytest.raises(outcome, match=reason):
            evaluate.evaluate_report(text, "r.xml", Policy())
