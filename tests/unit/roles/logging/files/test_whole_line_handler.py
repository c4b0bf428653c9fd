# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A line is written as a whole to the current file of that name, and a write error affects no request."""

from __future__ import annotations

import logging
import os
import resource

import evenkeel_logging
import pytest


@pytest.fixture
def log(tmp_path):
    """Log through a handler of one's own; `log.path` is its file."""
    opened = []

    def logger(path=tmp_path / "app.log"):
        handler = evenkeel_logging.WholeLineHandler(str(path))
        handler.setFormatter(logging.Formatter("%(message)s"))
        found = logging.Logger("shop")
        found.addHandler(handler)
        opened.append(handler)
        return found

    yield logger
    for handler in opened:
        handler.close()


def test_a_line_however_long_is_one_write(log, tmp_path, monkeypatch):
    writes = []
    write = os.write
    monkeypatch.setattr(os, "write", lambda *args: writes.append(args[1]) or write(*args))
    line = "x" * 1_000_000
    log().info(line)
    assert writes == [line.encode() + b"\n"]
    assert (tmp_path / "app.log").read_text() == line + "\n"


def test_lines_follow_the_name_when_the_file_is_renamed(log, tmp_path):
    shop = log()
    shop.info("before")
    (tmp_path / "app.log").rename(tmp_path / "app.log.1")
    shop.info("after")
    assert (tmp_path / "app.log.1").read_text() == "before\n"
    assert (tmp_path / "app.log").read_text() == "after\n"


def test_a_file_that_somebody_else_made_meanwhile_is_appended_to(log, tmp_path):
    shop = log()
    shop.info("before")
    (tmp_path / "app.log").rename(tmp_path / "app.log.1")
    log().info("by the other worker")
    shop.info("by the first")
    assert (tmp_path / "app.log").read_text() == "by the other worker\nby the first\n"


def test_a_rotation_leaves_no_file_open(log, tmp_path):
    shop = log()
    shop.info("first")
    before = len(os.listdir("/proc/self/fd"))
    for turn in range(20):
        (tmp_path / "app.log").rename(tmp_path / f"app.log.{turn}")
        shop.info("next")
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_closed_handler_opens_its_file_again_when_it_is_needed(log, tmp_path):
    shop = log()
    shop.info("before")
    shop.handlers[0].close()
    shop.info("after")
    assert (tmp_path / "app.log").read_text() == "before\nafter\n"


def test_others_may_not_read_the_file(log, tmp_path):
    log().info("secret")
    assert (tmp_path / "app.log").stat().st_mode & 0o137 == 0


def test_a_log_that_cannot_be_written_is_told_of_once_and_raises_nothing(log, capsys):
    shop = log("/dev/full")
    for _turn in range(3):
        shop.info("lost")
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert "/dev/full" in lines[0]
    assert "No space left on device" in lines[0]


def test_it_says_how_many_lines_were_lost_when_it_can_write_again(log, tmp_path, capsys):
    shop = log(tmp_path / "later" / "app.log")
    shop.info("lost")
    shop.info("lost")
    (tmp_path / "later").mkdir()
    shop.info("kept")
    shop.info("kept too")
    assert capsys.readouterr().err.splitlines()[1:] == [
        f"evenkeel_logging: {tmp_path}/later/app.log: is written again; 2 lines were lost."
    ]
    assert (tmp_path / "later" / "app.log").read_text().split() == ["kept", "kept", "too"]


def test_a_closed_stderr_is_no_trouble_either(log, monkeypatch):
    monkeypatch.setattr("sys.stderr", None)
    log("/dev/full").info("lost")


def test_a_line_that_a_full_disk_cut_tears_no_other_line(log, tmp_path, capsys):
    room = 1 << 20
    path = tmp_path / "app.log"
    path.write_bytes(b"x" * (room - 5) + b"\n")
    shop = log()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, limits[1]))
    try:
        shop.info("a line that does not fit")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    shop.info("a whole line")
    assert path.read_text().splitlines()[1:] == ["a li", "a whole line"]
    assert "only 4 of 25 bytes" in capsys.readouterr().err
