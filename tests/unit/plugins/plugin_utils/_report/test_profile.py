# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What was measured, as people and programs read it, alone and beside what was measured before."""

from __future__ import annotations

import copy
import html.parser
import json

import pytest
from ansible_collections.evenkeel.flask.plugins.plugin_utils._report import profile as profiles
from hypothesis import given
from hypothesis import strategies as st

EVIL = '<script>alert("1")</script>&'
SETTINGS = {"seconds": 3.0, "concurrency": 10, "rate": 50.0, "max_requests": 20000}


def loop(cache, kind, p95, throughput=100.0):
    return {
        "cache": cache, "loop": kind, "requests": 300, "elapsed": 3.0, "throughput": throughput, "errors": 0,
        "statuses": {"200": 300}, "failures": {}, "quantiles_ms": [1.0, p95 / 2, p95],
        "latency_ms": {"p50": p95 / 2, "p90": p95, "p95": p95, "p99": p95, "max": p95}, "wire_bytes": 5000,
        "hit_rate": 0.5 if cache == "warm" else None, "cpu_ms": 2.0, "waits": {"cpu": 0.25, "database": 0.75},
        "looks": 100, "client_cpu_share": 0.1,
    }  # fmt: skip


def endpoint(name, p95=20.0, **more):
    loops = [
        loop(cache, kind, p95, **more) for cache in ("cold", "warm") for kind in ("closed", "open")
    ]
    return {"name": name, "status": 200, "body_bytes": 9000, "error": None, "loops": loops}


def profile(*endpoints, pss=30.0, **more):
    worker = {"pid": 7, "pss_mb": pss, "memory_mb": 20.0, "open_files": 9, "cpu_seconds": 1.0}
    return {
        "release": "2-b", "slot": "blue", "settings": SETTINGS, "endpoints": list(endpoints), "slowest": [],
        "workers": [worker, {**worker, "pid": 8, "pss_mb": None}], "main_pss_mb": 10.0,
        "pool": {"most": 1, "size": 60, "use": 0.0167}, "began": 1.0, "elapsed": 12.0, "msg": "It was measured.", **more,
    }  # fmt: skip


def run(hosts, before=None):
    return profiles.ProfileReport(
        "shop", "2026-11-26T08:00:00+00:00", hosts, before or {}, "2026-11-25"
    )


@pytest.mark.parametrize(
    ("before", "now", "text"),
    [
        (20.0, 5.0, "20 -> 5 (0.25)"),
        (640.0, 6200.4, "640 -> 6200 (9.69)"),
        (0, 0, "0 -> 0"),
        (0, 3, "0 -> 3"),
        (None, 5.0, "- -> 5"),
        (5.0, None, "5 -> -"),
    ],
)
def test_a_change_is_before_after_and_how_many_times_as_much(before, now, text):
    assert profiles.change(before, now, True) == text


def test_a_ratio_needs_something_to_divide_by():
    assert (profiles.ratio(4.0, 1.0), profiles.ratio(4.0, 0.0)) == (0.25, 0.0)
    assert (profiles.ratio(0.0, 1.0), profiles.ratio(None, 1.0), profiles.ratio(1.0, None)) == (
        None, None, None,
    )  # fmt: skip


def test_a_run_on_its_own_is_a_table():
    assert profiles.table({"app1": profile(endpoint("/"))}, {}) == [
        "host  endpoint  cache  p50 ms  p95 ms  p99 ms  req/s  errors  bytes  hits  cpu ms  waits for",
        "app1  /         cold   10      20      20      100    0       5000   -     2       database 75%, cpu 25%",
        "app1  /         warm   10      20      20      100    0       5000   50%   2       database 75%, cpu 25%",
        "app1: release 2-b, 2 workers, PSS 40 MB; connections of a worker to the database: 1 at most, of 60.",
    ]


def test_a_run_beside_an_earlier_one_has_both():
    now = {"app1": profile(endpoint("/", 5.0, throughput=400.0), pss=50.0)}
    head, cold, _warm, note = profiles.table(now, {"app1": profile(endpoint("/"))})
    assert "p95 ms" in head
    assert "10 -> 2.5 (0.25)  20 -> 5 (0.25)" in cold
    assert "100 -> 400 (4.00)" in cold
    assert "PSS 40 -> 60 (1.50) MB" in note


def test_what_cannot_be_compared_is_told():
    bad = {
        "name": "/bad",
        "status": 500,
        "body_bytes": None,
        "error": "not measured: it answers 500",
        "loops": [],
    }
    now = {"app1": profile(endpoint("/new"), bad), "app2": profile(endpoint("/"))}
    gentle = {**SETTINGS, "concurrency": 2}
    told = profiles.notes(now, {"app1": profile(endpoint("/old"), settings=gentle)})
    assert "app1: /bad not measured: it answers 500." in told
    assert "app1: /old was measured before, and is not now." in told
    assert any("with other settings before" in line and "concurrency 2" in line for line in told)
    assert "app2: was not measured before." in told
    rows = list(profiles.rows(now, {"app1": profile(endpoint("/old"))}))
    assert {row.endpoint: row.before for row in rows if row.host == "app1"} == {"/new": {}}


def test_an_endpoint_that_only_failed_has_a_line_without_latencies():
    found = endpoint("/")
    for one in found["loops"]:
        one.update(
            latency_ms={}, quantiles_ms=[], wire_bytes=None, errors=300, looks=0, cpu_ms=None
        )
    line = profiles.table({"app1": profile(found)}, {})[1]
    assert line.split()[3:] == ["-", "-", "-", "100", "600", "-", "-", "-", "?"]
    assert profiles.plots(profile(found), None) == []


def test_what_is_saved_is_what_is_read_and_no_more():
    said = {
        **profile(endpoint("/")),
        "invocation": {"module_args": {"headers": "s3cret"}},
        "changed": False,
    }
    hosts = profiles.measured_hosts(
        {"app1": said, "app2": {"failed": True}, "app3": None, "app4": {"measured": False}}
    )
    assert list(hosts) == ["app1"]
    text = profiles.as_json(run(hosts, {"app9": profile()}))
    assert "s3cret" not in text
    assert "app9" not in text
    assert profiles.read(text) == (hosts, "2026-11-26T08:00:00+00:00")


@pytest.mark.parametrize(
    "text",
    ["", "no", "[]", "7", "{}", '{"hosts": []}', '{"hosts": {"a": {"endpoints": [1]}}, "at": ""}',
     '{"hosts": {"a": {"endpoints": [{"name": "/"}]}}, "at": ""}'],
)  # fmt: skip
def test_what_is_no_profile_is_refused(text):
    with pytest.raises(profiles.InvalidProfile, match=r"is no profile\.json"):
        profiles.read(text)


@given(st.data())
def test_a_profile_that_lacks_anything_is_refused_or_can_be_shown(data):
    """Whatever is read can be compared: a file of another version must not fail after the load."""
    whole = {"at": "", "hosts": {"app1": profile(endpoint("/"))}}
    broken = copy.deepcopy(whole)
    place = broken
    for _depth in range(data.draw(st.integers(0, 6))):
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        inner = [key for key in keys if isinstance(place[key], (dict, list)) and place[key]]
        if not inner:
            break
        place = place[data.draw(st.sampled_from(inner))]
    del place[
        data.draw(st.sampled_from(list(place) if isinstance(place, dict) else range(len(place))))
    ]
    try:
        before, _at = profiles.read(json.dumps(broken))
    except profiles.InvalidProfile:
        return
    profiles.table(whole["hosts"], before)
    profiles.as_html(run(whole["hosts"], before))


class Page(html.parser.HTMLParser):
    """The tags of a page, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text = ""
        self.attributes: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [value or "" for _name, value in attrs]

    def handle_data(self, data):
        self.text += data


def test_the_page_escapes_what_it_shows():
    found = endpoint(EVIL)
    found["loops"][0]["waits"] = {EVIL: 1.0}
    evil = profile(found, release=EVIL, msg=EVIL)
    page = Page(profiles.as_html(run({EVIL: evil}, {EVIL: evil})))
    assert "script" not in page.tags
    assert EVIL in page.text
    assert not any(value.startswith(("http", "//")) for value in page.attributes)


def test_the_page_has_a_curve_for_before_and_one_for_after():
    now, before = {"app1": profile(endpoint("/", 5.0))}, {"app1": profile(endpoint("/", 20.0))}
    (cold, warm) = profiles.plots(now["app1"], before["app1"])
    assert (cold.path, warm.path) == ("/ cold", "/ warm")
    assert [(curve.name, curve.p95) for curve in cold.curves] == [("before", 20.0), ("after", 5.0)]
    assert cold.limit == 20.0
    page = Page(profiles.as_html(run(now, before)))
    assert page.tags.count("polyline") == 4
    alone = Page(profiles.as_html(run(now)))
    assert alone.tags.count("polyline") == 2


def test_a_bar_has_a_piece_for_each_wait_as_wide_as_its_share():
    (shown,) = profiles.bars(profile(endpoint("/")), None)
    assert [(piece.kind, piece.x, piece.width) for piece in shown.pieces] == [
        ("cpu", 0.0, 140.0), ("database", 140.0, 420.0),
    ]  # fmt: skip
