# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The results of the gate, as files for people, CI and programs."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET

import pytest
from ansible_collections.evenkeel.flask.plugins.plugin_utils._report import rollout
from ansible_collections.evenkeel.flask.plugins.plugin_utils._report import (
    timeline as report_timeline,
)
from ansible_collections.evenkeel.flask.plugins.plugin_utils._report.rollout import (
    HostVerdict,
    RolloutReport,
)
from hypothesis import given
from hypothesis import strategies as st

EVIL = '<script>alert("1")</script>&\x00\ud800'


def result(outcome="passed", reason="200", **more):
    base = {"name": "main_page", "title": "Main Page Loading", "elapsed_ms": 12.3}
    return {**base, "outcome": outcome, "reason": reason, "warnings": [], "measured": {}, **more}


MEASURED = {
    "/": {"p95_ms": 9.0, "quantiles_ms": [1.0, 2.0, 9.0], "live_quantiles_ms": [1.0, 2.0, 4.0]}
}


def timeline(host="app1"):
    bake = {"began": 1000.0, "elapsed": 10.0, "failed": True}
    return report_timeline.rows({host: {"gate": {"began": 990.0, "elapsed": 5.0}, "bake": bake}})


def run(*results, verdict="passed", msg="It passed.", host="app1"):
    trial = HostVerdict("app1", verdict, msg, results or [result()], ["READY FOR PRODUCTION"])
    return RolloutReport(
        "shop", "2.0.0-1a2b3c4d5e", "2026-11-25T08:00:00+00:00", [trial], timeline(host)
    )


@pytest.mark.parametrize(
    ("verdicts", "verdict"),
    [
        ([], "none"),
        (["passed", "passed"], "passed"),
        (["passed", "inconclusive"], "inconclusive"),
        (["inconclusive", "failed", "passed"], "failed"),
    ],
)
def test_a_fleet_passes_if_every_host_does(verdicts, verdict):
    assert (
        RolloutReport(
            "shop", "1", "", [HostVerdict(str(n), v, "") for n, v in enumerate(verdicts)]
        ).verdict
        == verdict
    )


def test_a_host_that_was_not_asked_is_not_in_the_report():
    returned = {"verdict": "passed", "msg": "", "results": [], "summary": []}
    found = rollout.trials({"a": returned, "b": None, "c": {"skipped": True}})
    assert [trial.host for trial in found] == ["a"]


def test_junit_counts_each_outcome_as_what_it_is():
    suite = ET.fromstring(
        rollout.as_junit(
            run(result(), result("failed", "500"), result("skipped"), result("inconclusive"))
        )
    ).find("testsuite")
    assert {name: suite.get(name) for name in ("tests", "failures", "errors", "skipped")} == {
        "tests": "4",
        "failures": "1",
        "errors": "1",
        "skipped": "1",
    }
    assert [[child.tag for child in case] for case in suite] == [
        [],
        ["failure"],
        ["skipped"],
        ["error"],
    ]
    assert suite.find("testcase/failure").get("message") == "500"


def test_json_has_all_that_the_gate_returned():
    report = json.loads(rollout.as_json(run(result(measured=MEASURED))))
    assert report["verdict"] == "passed"
    assert report["trials"][0]["results"][0]["measured"] == MEASURED


def test_the_page_shows_both_releases_latencies():
    page = rollout.as_html(run(result(measured=MEASURED)))
    assert len(re.findall("<polyline", page)) == 2
    assert 'points="62.2,120.0 124.4,60.0 560.0,0.0"' in page


def test_a_first_release_is_shown_alone():
    page = rollout.as_html(run(result(measured={"/": {"quantiles_ms": [1.0, 2.0]}})))
    assert len(re.findall("<polyline", page)) == 1


def svg_of(page):
    return ET.fromstring(re.search(r"<svg viewBox.*?</svg>", page, re.DOTALL)[0])


def test_the_timeline_is_a_picture_and_a_text():
    svg = svg_of(rollout.as_html(run()))
    assert [rect.get("class") for rect in svg.iter("rect")] == ["gate", "failed"]
    assert svg.find("desc").text == (
        "app1 refused by its bake: gate, 5.0 s, passed; bake, 10.0 s, failed. "
    )
    named = {svg.find(name).get("id") for name in ("title", "desc")}
    assert set(svg.get("aria-labelledby").split()) == named


def test_the_timeline_is_the_same_whenever_it_is_drawn():
    assert rollout.as_html(run()) == rollout.as_html(run())


def test_a_host_s_name_is_text_and_no_markup():
    svg = svg_of(rollout.as_html(run(host="<b>&'\"")))
    assert next(svg.iter("text")).tag == "text"
    assert not list(svg.iter("b"))


def test_json_has_the_timeline():
    (row,) = json.loads(rollout.as_json(run()))["timeline"]
    assert (row["host"], [span["step"] for span in row["spans"]]) == ("app1", ["gate", "bake"])


def test_a_run_without_times_has_no_timeline():
    page = rollout.as_html(RolloutReport("shop", "1", "", [HostVerdict("app1", "passed", "")]))
    assert "Timeline" not in page


def test_the_page_needs_nothing_from_elsewhere():
    page = rollout.as_html(run(result(measured=MEASURED)))
    assert not re.search(r"(?i)\b(src|href|url|@import)\s*[=(]|https?:", page)


def test_what_an_app_answers_is_text_and_no_markup():
    page = rollout.as_html(run(result("failed", EVIL, warnings=[EVIL], title=EVIL), msg=EVIL))
    assert "<script" not in page
    assert "&lt;script&gt;" in page


@given(st.text())
def test_whatever_an_app_answers_the_files_can_be_read(text):
    evil = run(
        result("failed", text, warnings=[text], measured={text: {"quantiles_ms": [0.0]}}), msg=text
    )
    ET.fromstring(rollout.as_junit(evil))
    json.loads(rollout.as_json(evil))
    assert rollout.as_html(evil).endswith("</html>\n")
