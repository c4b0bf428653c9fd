# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A venv is installed only from locked wheels, and completely or not at all."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest
from ansible_collections.evenkeel.flask.plugins.module_utils._artifact import archive
from ansible_collections.evenkeel.flask.plugins.module_utils._artifact import venv as artifact_venv
from ansible_collections.evenkeel.flask.plugins.module_utils._errors import ArchiveError
from ansible_collections.evenkeel.flask.plugins.module_utils._system import process
from ansible_collections.evenkeel.flask.tests.unit.plugins.wheels import make_wheel


@pytest.fixture(name="unpacked")
def _unpacked(tmp_path):
    """An unpacked archive with one locked wheel."""
    folder = tmp_path / "unpacked"
    (folder / "wheels").mkdir(parents=True)
    tiny = make_wheel(folder / "wheels", "tiny")
    lock = archive.lock_line(tiny.name, archive.file_digest(str(tiny)))
    (folder / archive.LOCK).write_text(f"{lock}\n")
    return folder


def create(unpacked, python=sys.executable):
    venv = unpacked.parent / "venv"
    artifact_venv.create(str(python), str(venv), str(unpacked))
    return venv


def site_packages(venv):
    (found,) = venv.glob("lib/python*/site-packages")
    return found


# Processes that a command can leave behind. Each holds the output open and prints its process id.
LEFT = {
    "child": "subprocess.Popen(CHILD)",
    "child that ignores TERM": "subprocess.Popen(['sh', '-c', 'trap : TERM; echo $$ > pid; sleep 999'])",
    "session of its own": "subprocess.Popen(CHILD, start_new_session=True)",
    "daemon": "os.fork() or (os.setsid(), os.fork() and os._exit(0), os.execvp(CHILD[0], CHILD))",
    "without the environment": "subprocess.Popen(CHILD, env={'PATH': os.defpath})",
}
LEAVES = "import os, subprocess, time\nCHILD = ['sh', '-c', 'echo $$ > pid; exec sleep 999']\n"
# It does not end before the process that it leaves is there.
WAITS = (
    "\nwhile not (os.path.exists('pid') and open('pid').read()): time.sleep(0.01)\nprint('done')\n"
)


def is_alive(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as stream:
            return stream.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


class TestRunAndCleanUp:
    @pytest.mark.parametrize("what", LEFT.values(), ids=LEFT)
    def test_the_end_of_the_command_counts_and_not_that_of_what_it_leaves(self, tmp_path, what):
        command = [sys.executable, "-c", f"{LEAVES}{what}{WAITS}"]
        done = process.run_and_clean_up(command, os.environ, str(tmp_path), 60)
        assert (done.returncode, done.stdout) == (0, "done\n")
        pid = int((tmp_path / "pid").read_text())
        deadline = time.monotonic() + 60
        while is_alive(pid) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert not is_alive(pid)

    def test_a_command_that_takes_too_long_is_killed_with_what_it_left(self, tmp_path):
        command = [sys.executable, "-c", f"{LEAVES}{LEFT['child']}{WAITS}\ntime.sleep(999)"]
        with pytest.raises(subprocess.TimeoutExpired):
            process.run_and_clean_up(command, os.environ, str(tmp_path), 1)
        assert not (tmp_path / "pid").exists() or not is_alive(
            (tmp_path / "pid").read_text().strip()
        )


class TestRun:
    def test_all_that_a_command_says_is_kept_in_its_order(self):
        done = process.run(["sh", "-c", "echo one; echo two >&2; echo three; exit 3"])
        assert (done.returncode, done.stdout) == (3, "one\ntwo\nthree\n")

    def test_a_command_can_ask_nobody(self):
        ours = os.dup(0)
        reader, writer = os.pipe()
        try:
            os.write(writer, b"y")
            os.close(writer)
            os.dup2(reader, 0)
            assert process.run(["cat"]).stdout == ""
        finally:
            os.dup2(ours, 0)
            os.close(ours)
            os.close(reader)

    def test_a_command_has_the_environment_it_was_given_and_no_other(self, monkeypatch):
        monkeypatch.setenv("OUTER", "1")
        assert process.run(["/usr/bin/env"], {"INNER": "2"}).stdout == "INNER=2\n"

    def test_a_command_runs_in_its_folder(self, tmp_path):
        assert process.run(["pwd", "-P"], folder=str(tmp_path)).stdout == f"{tmp_path.resolve()}\n"

    def test_bytes_that_are_no_text_are_no_crash(self):
        assert process.run(["printf", r"caf\351 au lait"]).stdout == "caf\ufffd au lait"


@pytest.mark.parametrize(
    ("output", "line"),
    [
        ("", "it said nothing"),
        (" \n\n", "it said nothing"),
        ("one", "one"),
        ("Traceback (most recent call last):\n  File x\nKeyError: 'z'\n\n", "KeyError: 'z'"),
    ],
)
def test_the_last_line_is_the_one_that_says_something(output, line):
    assert process.last_line(output) == line


class TestCreate:
    def test_a_venv_has_what_was_locked_and_is_complete(self, unpacked):
        venv = create(unpacked)
        assert (site_packages(venv) / "tiny.py").exists()
        assert artifact_venv.is_complete(str(venv))
        prefix = subprocess.check_output(
            [venv / "bin" / "python", "-c", "import sys; print(sys.prefix)"], text=True
        )
        assert prefix.strip() == str(venv)

    def test_what_was_cut_off_is_made_anew(self, unpacked):
        half = unpacked.parent / "venv"
        half.mkdir()
        (half / "leftover").touch()
        assert not artifact_venv.is_complete(str(half))
        create(unpacked)
        assert artifact_venv.is_complete(str(half))
        assert not (half / "leftover").exists()

    @pytest.mark.parametrize("change", ["missing", "changed"])
    def test_without_the_locked_wheel_no_half_of_a_venv_is_left(self, unpacked, change):
        (unpacked / "wheels" / "tiny-1.0-py3-none-any.whl").unlink()
        if change == "changed":
            make_wheel(unpacked / "wheels", "tiny", files={"tiny.py": "evil = True\n"})
        with pytest.raises(ArchiveError, match=r"no wheel of tiny==1\.0 has the locked SHA-256"):
            create(unpacked)
        assert not (unpacked.parent / "venv").exists()

    def test_no_code_of_a_wheel_runs(self, unpacked, tmp_path):
        """Root makes the venvs on the hosts."""
        mark = tmp_path / "ran"
        touch = f"import pathlib; pathlib.Path({str(mark)!r}).touch()\n"
        evil = make_wheel(
            unpacked / "wheels",
            "evil",
            files={
                "evil.pth": touch,
                "sitecustomize.py": touch,
                "usercustomize.py": touch,
                "compileall.py": touch,
                "pip/__main__.py": touch,
                "setup.py": touch,
            },
        )
        lock = archive.lock_line(evil.name, archive.file_digest(str(evil)))
        with (unpacked / archive.LOCK).open("a") as stream:
            stream.write(f"{lock}\n")
        venv = create(unpacked)
        assert not mark.exists()
        assert [*site_packages(venv).glob("__pycache__/tiny.*.pyc")]
        subprocess.run([venv / "bin" / "python", "-c", ""], check=True)
        assert mark.exists()

    def test_a_python_that_makes_no_venv_is_named_with_what_it_said(self, unpacked):
        python = unpacked / "python3"
        python.write_text("#!/bin/sh\necho 'No module named venv'\nexit 1\n")
        python.chmod(0o755)
        with pytest.raises(
            ArchiveError, match=f"{python} cannot make a venv: No module named venv"
        ):
            create(unpacked, python)
