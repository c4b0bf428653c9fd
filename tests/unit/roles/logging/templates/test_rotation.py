# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The configuration that the host's logrotate gets."""

from __future__ import annotations

import configparser
import shutil
import subprocess

import pytest
from ansible_collections.evenkeel.flask.tests.unit.roles.logging.rendered import (
    Logrotate,
    needs_logrotate,
    render,
)

needs_systemd = pytest.mark.skipif(
    not shutil.which("systemd-analyze"), reason="systemd is not installed"
)


def directives(text):
    """Return the names of the logs, and their directives."""
    lines = [line.strip() for line in text.splitlines() if not line.strip().startswith("#")]
    head, *body, end = lines
    assert (head[-1], end) == ("{", "}")
    return head[:-1].split(), body


def test_both_logs_are_rotated_by_size_number_and_age():
    logs, body = directives(
        render(
            "logrotate.conf.j2",
            logging_rotate_size="10M",
            logging_rotate_keep=7,
            logging_rotate_max_age_days=14,
        )
    )
    assert logs == ["/var/log/shop/app.log", "/var/log/shop/access.log"]
    assert {"maxsize 10M", "rotate 7", "maxage 14", "su shop shop"} <= set(body)


@pytest.mark.parametrize(
    ("directive", "reason"),
    [
        (
            "nocreate",
            "a file that logrotate made too would push the workers' own out of the rotation",
        ),
        (
            "delaycompress",
            "a line on its way into the renamed file would go into a file that is removed",
        ),
        ("nodateext", "a second rotation on the same day would be skipped"),
        ("daily", "ages are looked at when a log is rotated, and only then"),
    ],
)
def test_what_keeps_lines_and_limits_is_there(directive, reason):
    assert directive in directives(render("logrotate.conf.j2"))[1], reason


@needs_logrotate
def test_logrotate_understands_it(tmp_path):
    assert "error" not in Logrotate(tmp_path)("--debug")


@needs_logrotate
def test_a_log_is_left_alone_until_it_is_too_large(tmp_path):
    (tmp_path / "app.log").write_text("x" * 1025)
    (tmp_path / "access.log").write_text("x" * 1023)
    Logrotate(tmp_path, logging_rotate_size="1k")()
    assert sorted(path.name for path in tmp_path.glob("*.log*")) == ["access.log", "app.log.1"]


def test_the_timer_runs_by_our_calendar_alone():
    timer = configparser.ConfigParser(strict=False)
    rendered = render("timer.conf.j2")
    timer.read_string(rendered)
    assert rendered.index("OnCalendar=\n") < rendered.index("OnCalendar=*:0/5\n")
    assert timer["Timer"]["OnCalendar"] == "*:0/5"


@needs_systemd
def test_systemd_understands_the_default_calendar():
    calendar = configparser.ConfigParser(strict=False)
    calendar.read_string(render("timer.conf.j2"))
    subprocess.run(
        ["systemd-analyze", "calendar", calendar["Timer"]["OnCalendar"]],
        check=True,
        stdout=subprocess.DEVNULL,
    )
