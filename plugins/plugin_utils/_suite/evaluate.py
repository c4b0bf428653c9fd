# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Evaluate the results of the team's own tests; on the controller only.

A candidate fails only if a test ran and failed. If tests could not run, the result is
inconclusive. Neither lets the candidate through.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any
from xml.parsers import expat

from ...module_utils._gate.check import Failed, Inconclusive, Passed
from ...module_utils._system import process

SUITES = ("testsuites", "testsuite")
SHOWN_NAMES = 5
MAX_MESSAGE = 160

# Exit statuses as pytest documents them; with 0 and 1 the tests ran.
ALL_RUN = (0, 1)
NO_TESTS = 5


class InvalidReport(Exception):
    """The bytes are not a JUnit report. The message has the reason."""


@dataclass(frozen=True)
class Case:
    """One test of a report."""

    classname: str
    name: str
    outcome: str
    message: str = ""

    @property
    def id(self) -> str:
        return f"{self.classname}::{self.name}" if self.classname else self.name


@dataclass(frozen=True)
class Policy:
    """The rules for failures that are accepted."""

    min_pass_rate: float = 100
    allowed_failures: Sequence[str] = ()

    def allows(self, case: Case) -> bool:
        # The name of a parametrised test has brackets, which fnmatch reads as a set of letters.
        return any(
            name == pattern or fnmatchcase(name, pattern)
            for pattern in self.allowed_failures
            for name in (case.id, case.name)
        )


@dataclass
class _Suite:
    """A suite during parsing: its declared counts, and the tests in it."""

    name: str
    declared: int
    failed: int = 0


@dataclass
class _Reader:
    """A collector of the tests of a report, called by expat."""

    cases: list[Case] = field(default_factory=list)
    suites: list[_Suite] = field(default_factory=list)
    case: dict[str, Any] | None = None

    def start(self, tag: str, attributes: Mapping[str, str]) -> None:
        if not self.suites and tag not in SUITES:
            raise InvalidReport(f"its first element is {tag[:40]}, wanted {' or '.join(SUITES)}")
        if tag in SUITES:
            declared = sum(_number(attributes.get(name)) for name in ("failures", "errors"))
            self.suites.append(_Suite(attributes.get("name", ""), declared))
        elif tag == "testcase":
            not_run = attributes.get("status") in ("notrun", "disabled", "skipped")
            self.case = {
                "classname": attributes.get("classname", ""),
                "name": attributes.get("name", ""),
                "outcome": "skipped" if not_run else "passed",
            }
        elif self.case and tag in ("failure", "error"):
            self.suites[-1].failed += 1
            self.case["outcome"] = "failed"
            self.case.setdefault("message", attributes.get("message", ""))
        elif self.case and tag == "skipped" and self.case["outcome"] == "passed":
            self.case["outcome"] = "skipped"

    def end(self, tag: str) -> None:
        if tag == "testcase" and self.case:
            self.cases.append(Case(**self.case))
            self.case = None
        elif tag in SUITES:
            suite = self.suites.pop()
            # Some reports record only in the suite that a whole file of tests could not run.
            if suite.declared > suite.failed:
                name = suite.name or "a suite without a name"
                self.cases.append(Case("", name, "failed", "it failed as a whole"))
            if self.suites:
                self.suites[-1].failed += max(suite.failed, suite.declared)

    def doctype(self, *_args: Any) -> None:
        # No report needs a DOCTYPE, and all attacks with entities begin with one.
        raise InvalidReport("it has a DOCTYPE, which no JUnit report needs")


def parse(report: bytes) -> list[Case]:
    """Parse a JUnit report.

    @raises InvalidReport: if it is not a report, or has content that could harm the parser
    """
    reader = _Reader()
    parser = expat.ParserCreate()
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    parser.StartDoctypeDeclHandler = reader.doctype
    try:
        parser.Parse(report, True)
    except (expat.ExpatError, LookupError, ValueError) as error:
        raise InvalidReport(f"it is no XML: {error}") from None
    return reader.cases


def _number(text: str | None) -> int:
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 10 else 0


def evaluate(cases: Sequence[Case], policy: Policy) -> Passed:
    """Evaluate the results of the tests.

    @raises Failed: if more tests failed than the policy allows
    @raises Inconclusive: if no test ran
    """
    passed = sum(case.outcome == "passed" for case in cases)
    skipped = sum(case.outcome == "skipped" for case in cases)
    failed = [case for case in cases if case.outcome == "failed"]
    blocking = [case for case in failed if not policy.allows(case)]
    allowed = [case for case in failed if policy.allows(case)]
    measured = {"tests": {"passed": passed, "failed": len(failed), "skipped": skipped}}
    if not cases:
        raise Inconclusive("the suite is empty: there is no test in it", measured)
    if not passed and not failed:
        raise Inconclusive(f"nothing was tested: {_skipped(skipped)}", measured)
    if not passed and not blocking:
        raise Inconclusive(
            f"no test passed: {_tests(len(failed))} failed as allowed_failures lets them", measured
        )
    summary = f"{len(blocking)} of {_tests(passed + len(failed))} failed"
    enough = 100 * passed >= policy.min_pass_rate * (passed + len(blocking))
    if not enough:
        if policy.min_pass_rate < 100:
            rate = 100 * passed / (passed + len(blocking))
            summary += f", {rate:.4g}% passed where {policy.min_pass_rate:g}% are wanted"
        raise Failed(summary + _details(blocking, skipped), measured)
    warnings = [
        f"{text} ({', '.join(_names(group))})"
        for group, text in (
            (blocking, f"{summary}, as min_pass_rate lets them"),
            (allowed, f"{_tests(len(allowed))} failed, as allowed_failures lets them"),
        )
        if group
    ]
    detail = ", ".join([f"{_tests(passed)} passed", *([_skipped(skipped)] if skipped else [])])
    return Passed(detail, tuple(warnings), measured)


def _details(failed: Sequence[Case], skipped: int) -> str:
    text = f": {', '.join(_names(failed))}"
    if skipped:
        text += f"; {_skipped(skipped)}"
    message = next((_one_line(case.message) for case in failed if case.message.strip()), "")
    return f"{text}; the first says: {message}" if message else text


def _names(cases: Sequence[Case]) -> list[str]:
    names = list(dict.fromkeys(_one_line(case.name) or "a test without a name" for case in cases))
    more = len(names) - SHOWN_NAMES
    return [*names[:SHOWN_NAMES], *([f"and {more} more"] if more > 0 else [])]


def _one_line(text: str) -> str:
    words = " ".join(text.split())
    return words if len(words) <= MAX_MESSAGE else f"{words[: MAX_MESSAGE - 1]}…"


def _tests(number: int) -> str:
    return "1 test" if number == 1 else f"{number} tests"


def _skipped(number: int) -> str:
    return f"{number} skipped"


@dataclass(frozen=True)
class SuiteRun:
    """The result of a command. The status V(None) means a timeout."""

    status: int | None
    output: str = ""
    report: bytes | None = None


def evaluate_report(report: bytes | None, path: str, policy: Policy) -> Passed:
    """Evaluate a report that another program made.

    @param report: the content of the file, or V(None) if there is none
    """
    if report is None:
        raise Inconclusive(f"{path} is not there; make it before, or mend checks.suite.junit")
    try:
        return evaluate(parse(report), policy)
    except InvalidReport as error:
        raise Inconclusive(f"{path} is no JUnit report: {error}") from None


def evaluate_pytest(run: SuiteRun, policy: Policy, timeout: float) -> Passed:
    _require_end("pytest", run, timeout)
    if run.status == NO_TESTS:
        raise Inconclusive("the suite is empty: pytest found no test in it")
    if run.status not in ALL_RUN or run.report is None:
        raise Inconclusive(f"pytest could not run the tests: {_reason(run.output)}")
    try:
        finding = evaluate(parse(run.report), policy)
    except InvalidReport as error:
        raise Inconclusive(f"pytest's report cannot be read: {error}") from None
    if run.status != 0 and not finding.measured["tests"]["failed"]:
        # For example a plugin that requires a minimum coverage.
        output = _one_line(process.last_line(run.output))
        raise Failed(
            f"{finding.detail}, and pytest ended with status {run.status}: {output}",
            finding.measured,
        )
    return finding


def evaluate_command(program: str, run: SuiteRun, timeout: float) -> Passed:
    """Evaluate a command by its exit status. The result leaves out its arguments, which can be secret."""
    _require_end(program, run, timeout)
    if run.status != 0:
        output = _one_line(process.last_line(run.output))
        raise Failed(f"{program} ended with status {run.status}: {output}")
    return Passed(f"{program} ended with status 0")


def _require_end(program: str, run: SuiteRun, timeout: float) -> None:
    if run.status is None:
        raise Inconclusive(
            f"{program} was not done in {timeout:g} s (checks.suite.timeout), and was ended"
        )
    if run.status < 0:
        raise Inconclusive(f"{program} was ended by signal {-run.status}")


def _reason(output: str) -> str:
    """Return the line of pytest's output with the cause of the failure."""
    lines = [line.strip() for line in output.splitlines()]
    errors = [line[1:] for line in lines if line.startswith("E  ")]
    errors += [line for line in lines if line.startswith("ERROR: ")]
    reason = _one_line(errors[0] if errors else process.last_line(output))
    if "No module named" in reason:
        reason += "; list what the tests need in checks.suite.requirements, pytest among it"
    return reason
