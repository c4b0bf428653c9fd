# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The load counts each failure that a user would notice, and keeps sending requests to a stalled server.

The result "no request failed" depends on these tests.
"""

from __future__ import annotations

import http.client
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections import Counter

import load
import pytest
from ansible_collections.evenkeel.flask.tests.unit.plugins.loopback import (
    ok,
    reset,
    serving,
    silent,
)
from load import (
    MIN_RATE,
    Latencies,
    Load,
    Result,
    Tally,
    address_of,
    affordable_rate,
    parse_answer,
    rate_for,
)


class Lines:
    """The records that a load writes of its requests. A fast writer keeps the tests short."""

    def __init__(self, path):
        os.mkfifo(path)
        self.path = path
        self._file = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        self._rest = b""

    def take(self, number):
        """The next lines, at least C(number) of them."""
        while self._rest.count(b"\n") < number:
            assert select.select([self._file], [], [], 30)[0], f"not even {number} requests"
            self._rest += os.read(self._file, 65536)
        taken, _newline, self._rest = self._rest.rpartition(b"\n")
        return [json.loads(line) for line in taken.splitlines()]

    def close(self):
        os.close(self._file)


@pytest.fixture(name="lines")
def _lines(tmp_path):
    lines = Lines(tmp_path / "lines")
    yield lines
    lines.close()


@pytest.fixture(name="ask")
def _ask(lines):
    """Run a load until this number of responses, or of failures, was recorded; return these and the summary."""

    def ask(targets, number, *paths, **options):
        client = Load(targets, 200, paths or ("/",), lines.path, **options)
        client.start()
        noted = lines.take(number)
        return noted, client.stop()

    return ask


def result(status=200, elapsed_ms=1.0, release="1.0-a"):
    return Result(0.0, "app1", "/", status, None, elapsed_ms, release)


@pytest.fixture(name="nobody")
def _nobody():
    """The URL of a port on which no process listens or can listen."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"


class TestAnswers:
    @pytest.mark.parametrize(
        ("raw", "found"),
        [
            (ok(b"hello"), (200, None)),
            (ok(b"hello", X_Release="1.0-a"), (200, "1.0-a")),
            (ok(b"", "503 Away", X_Release="1.0-a"), (503, "1.0-a")),
            (b"HTTP/1.0 200 OK\r\n\r\nuntil it closes", (200, None)),
            (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", (200, None)),
            (b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: /\r\n\r\n", (302, None)),
        ],
    )  # fmt: skip
    def test_a_whole_answer_tells_its_status_and_its_release(self, raw, found):
        assert parse_answer(raw) == found

    @pytest.mark.parametrize(
        "raw",
        [
            b"",
            b"HTTP/1.1",
            b"no http at all\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhell",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxx\r\nhi\r\n",
        ],
    )
    def test_an_answer_that_is_cut_off_or_none_is_not_taken_for_one(self, raw):
        with pytest.raises(http.client.HTTPException):
            parse_answer(raw)

    @pytest.mark.parametrize(
        ("status", "failed"), [(200, False), (302, False), (404, False), (500, True), (None, True)]
    )
    def test_an_error_of_the_server_and_no_answer_are_failures(self, status, failed):
        assert result(status).failed is failed

    def test_a_line_has_what_is_known_and_no_more(self):
        line = json.loads(Result(1.5, "app1", "/x", None, "OSError: gone", 2.5, None).line())
        assert line == {
            "time": 1.5,
            "target": "app1",
            "path": "/x",
            "error": "OSError: gone",
            "elapsed_ms": 2.5,
        }


class TestSums:
    @pytest.mark.parametrize("share", [0.01, 0.5, 0.9, 0.99, 1])
    def test_a_quantile_is_right_to_one_per_cent(self, share):
        latencies = Latencies()
        for number in range(1, 1001):
            latencies.add(number / 10)
        assert latencies.quantile(share) == pytest.approx(share * 100, rel=0.01)

    @pytest.mark.parametrize("elapsed", [0, 0.0001, 1, 123.4, 60_000])
    def test_a_single_request_is_each_quantile_and_none_is_above_the_slowest(self, elapsed):
        latencies = Latencies()
        latencies.add(elapsed)
        assert latencies.quantile(0.5) == pytest.approx(elapsed, rel=0.01)
        assert latencies.quantile(0.99) <= latencies.max_ms == elapsed

    def test_a_few_slow_ones_do_not_hide(self):
        latencies = Latencies()
        for elapsed in [1.0] * 98 + [500.0] * 2:
            latencies.add(elapsed)
        assert latencies.quantile(0.5) == pytest.approx(1, rel=0.01)
        assert latencies.quantile(0.99) == pytest.approx(500, rel=0.01)

    def test_nothing_asked_has_no_latency(self):
        assert Latencies().quantile(0.99) == 0

    def test_a_target_is_summed_up_by_status_and_release(self):
        tally = Tally()
        for one in (
            result(),
            result(release="2.0-b"),
            result(404, release=None),
            result(502, release=None),
            result(None, release=None, elapsed_ms=50.0),
        ):
            tally.add(one)
        summary = tally.summary()
        assert (summary["sent"], summary["ok"], summary["failed"]) == (5, 3, 2)
        assert summary["statuses"] == {"200": 2, "404": 1, "502": 1, "no answer": 1}
        # A request without a response has no release; a response without a release is counted as such.
        assert summary["releases"] == {"1.0-a": 1, "2.0-b": 1, "none": 2}
        assert summary["failed_by"] == {"1.0-a": 0, "2.0-b": 0, "none": 1}
        assert summary["max_ms"] == 50


class TestLoad:
    def test_every_answer_is_counted_by_status_and_release(self, ask):
        def answer(_conn, request):
            if b" /old " in request:
                return ok(X_Release="1.0-a")
            return ok(b"", "503 Away", X_Release="2.0-b")

        with serving(answer) as server:
            noted, summary = ask({"app1": server.url}, 10, "/old", "/new")
        asked = Counter(server.paths)
        assert summary.sent == len(server.requests) >= 10
        assert (summary.ok, summary.failed) == (asked["/old"], asked["/new"])
        assert summary.releases == {"1.0-a": asked["/old"], "2.0-b": asked["/new"]}
        assert summary.targets["app1"]["statuses"] == {"200": asked["/old"], "503": asked["/new"]}
        assert {(line["path"], line["status"], line["release"]) for line in noted} == {
            ("/old", 200, "1.0-a"),
            ("/new", 503, "2.0-b"),
        }

    def test_targets_and_paths_are_asked_alike(self, ask):
        with serving(ok()) as one, serving(ok()) as other:
            _noted, summary = ask({"app1": one.url, "lb": other.url}, 16, "/a", "/b")
        for server in (one, other):
            asked = Counter(server.paths)
            assert abs(asked["/a"] - asked["/b"]) <= 1
        assert abs(summary.targets["app1"]["sent"] - summary.targets["lb"]["sent"]) <= 1

    def test_every_request_has_a_connection_of_its_own(self, ask):
        with serving(ok()) as server:
            ask({"app1": server.url}, 3)
        assert all(b"\r\nConnection: close\r\n" in request for request in server.requests)
        host = server.url.partition("//")[2].encode()
        assert all(b"\r\nHost: " + host + b"\r\n" in request for request in server.requests)

    @pytest.mark.parametrize(
        ("answer", "error"),
        [
            (reset, "ConnectionResetError: "),
            (b"", "RemoteDisconnected: "),
            (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", "IncompleteRead: "),
            (b"no http\r\n\r\n", "BadStatusLine: "),
        ],
    )
    def test_an_answer_that_breaks_off_is_a_failure_with_its_cause(self, ask, answer, error):
        with serving(answer) as server:
            noted, summary = ask({"app1": server.url}, 3)
        assert summary.failed == summary.sent == len(server.requests)
        assert summary.targets["app1"]["statuses"] == {"no answer": summary.sent}
        assert summary.releases == {}
        assert all(line["error"].startswith(error) for line in noted)
        assert "status" not in noted[0]

    def test_a_server_that_is_gone_is_a_failure(self, ask, nobody):
        noted, summary = ask({"app1": nobody}, 3)
        assert summary.failed == summary.sent >= 3
        assert noted[0]["error"].startswith("ConnectionRefusedError: ")

    def test_an_answer_that_never_comes_is_a_failure(self, ask):
        with serving(silent) as server:
            noted, summary = ask({"app1": server.url}, 3, timeout=0.05)
        assert summary.failed == summary.sent >= 3
        assert {line["error"] for line in noted} == {"no answer within 0.05 s"}

    def test_the_first_failures_are_kept_to_be_looked_at_and_only_those(self, ask, nobody):
        noted, summary = ask({"app1": nobody}, 2 * load.FIRST_FAILURES)
        assert summary.first_failures == noted[: load.FIRST_FAILURES]

    def test_a_server_that_stalls_is_asked_on(self, ask):
        """A client that waits for each response would never send the five at once."""
        five = threading.Event()

        def answer(*_args):
            if len(server.requests) >= 5:
                five.set()
            return ok() if five.wait(30) else None

        with serving(answer) as server:
            _noted, summary = ask({"app1": server.url}, 5, timeout=30)
        assert summary.failed == 0

    def test_a_server_that_stalls_does_not_keep_the_others_from_being_asked(self, lines):
        enough = threading.Event()
        with (
            serving(lambda *_args: ok() if enough.wait(30) else None) as stalled,
            serving(ok()) as sound,
        ):
            targets = {"app1": stalled.url, "app2": sound.url}
            client = Load(targets, 200, output=lines.path, timeout=30)
            client.start()
            noted = lines.take(5)
            enough.set()
            summary = client.stop()
        assert {line["target"] for line in noted} == {"app2"}
        assert summary.failed == 0

    def test_stopping_waits_for_what_is_due_and_sends_no_more(self, lines):
        asked, stopping = threading.Event(), threading.Event()

        def answer(*_args):
            asked.set()
            return ok() if stopping.wait(30) else None

        class Watched(Load):
            async def _until(self, due):
                await super()._until(due)
                if self._enough.is_set():
                    stopping.set()

        with serving(answer) as server:
            # The first request goes out at once; the next would be due in the evening.
            client = Watched({"app1": server.url}, 0.0001, output=lines.path, timeout=30)
            client.start()
            assert asked.wait(30)
            summary = client.stop()
        assert (summary.sent, summary.ok, len(server.requests)) == (1, 1, 1)

    def test_each_request_is_a_line_in_the_output(self, tmp_path):
        output = tmp_path / "requests.jsonl"
        third = threading.Event()

        def answer(*_args):
            if len(server.requests) >= 3:
                third.set()
            return ok(X_Release="1.0-a")

        with serving(answer) as server:
            client = Load({"app1": server.url}, 200, output=output)
            client.start()
            assert third.wait(30)
            summary = client.stop()
        noted = [json.loads(line) for line in output.read_text().splitlines()]
        assert len(noted) == summary.sent
        assert {line["release"] for line in noted} == {"1.0-a"}
        assert all(line["time"] > 0 and line["elapsed_ms"] > 0 for line in noted)


class TestArguments:
    @pytest.mark.parametrize(
        ("url", "address"),
        [
            ("http://app1", ("app1", 80)),
            ("http://127.0.0.1:8000", ("127.0.0.1", 8000)),
            ("http://[::1]:8000/", ("::1", 8000)),
        ],
    )
    def test_a_target_is_a_host_and_a_port(self, url, address):
        assert address_of(url) == address

    @pytest.mark.parametrize(
        "url", ["https://app1", "app1:8000", "http://", "http://app1/shop", "", "http://app1:99999"]
    )
    def test_a_url_that_is_no_target_is_refused(self, url):
        with pytest.raises(ValueError, match=r"is no target: give it as|Port out of range"):
            address_of(url)

    @pytest.mark.parametrize(
        ("targets", "rate", "paths", "message"),
        [
            ({}, 1, ["/"], "needs a rate above 0, a target and a path"),
            ({"app1": "http://app1"}, 0, ["/"], "needs a rate above 0"),
            ({"app1": "http://app1"}, 1, [], "needs a rate above 0"),
            ({"app1": "http://app1"}, 1, ["/", "health"], "'health' is no path"),
            ({"app1": "http://app1"}, 1, ["/a b"], "'/a b' is no path"),
            ({"app1": "http://app1"}, 1, ["/é"], "'/é' is no path"),
            ({"app1": "http://app1"}, 1, ["/\r\nX: y"], "is no path"),
        ],
    )
    def test_what_cannot_be_asked_is_refused_before_anything_is(
        self, targets, rate, paths, message
    ):
        with pytest.raises(ValueError, match=message):
            Load(targets, rate, paths)

    def test_an_output_that_cannot_be_written_fails_where_it_was_given(self, tmp_path):
        client = Load({"app1": "http://app1"}, 1, output=tmp_path / "no" / "file")
        with pytest.raises(FileNotFoundError):
            client.start()


class TestCommand:
    def command(self, *args):
        return subprocess.Popen(
            [sys.executable, load.__file__, *args],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
    def test_it_asks_until_it_is_told_to_stop_and_says_what_it_came_to(self, number):
        asked = threading.Event()

        def answer(*_args):
            asked.set()
            return ok(X_Release="1.0-a")

        with (
            serving(answer) as server,
            self.command("--target", f"app1={server.url}", "--path", "/x") as running,
        ):
            assert asked.wait(30)
            running.send_signal(number)
            output, _errors = running.communicate(timeout=30)
        assert running.returncode == 0
        summary = json.loads(output)
        assert summary["sent"] == summary["ok"] == len(server.requests)
        assert summary["releases"] == {"1.0-a": summary["sent"]}
        assert set(server.paths) == {"/x"}

    @pytest.mark.parametrize(
        ("target", "message"),
        [
            ("http://app1", "'http://app1': give it as NAME=URL"),
            ("app1=app1:8000", "load: 'app1:8000' is no target: give it as http://HOST:PORT"),
        ],
    )
    def test_a_target_that_is_none_ends_it_with_a_message(self, target, message):
        with self.command("--target", target, "--duration", "0") as running:
            assert message in running.communicate(timeout=30)[1]
        assert running.returncode == 2


@pytest.mark.parametrize(
    ("seconds", "targets", "rate"),
    [
        ([0.001], 3, 15),
        ([0.007, 0.008, 5.0], 3, pytest.approx(14.6, abs=0.1)),
        ([0.025] * 9, 3, pytest.approx(4.7, abs=0.1)),
        ([2.0], 3, MIN_RATE),
        ([], 3, MIN_RATE),
    ],
)
def test_the_rate_of_a_load_is_what_the_machine_can_carry(seconds, targets, rate):
    assert rate_for(seconds, targets, 15) == rate


def test_a_target_that_does_not_answer_changes_no_rate():
    with serving(ok()) as server:
        targets = {"app1": server.url, "app2": "http://127.0.0.1:9"}
        assert MIN_RATE <= affordable_rate(targets, ["/"], 15) <= 15
