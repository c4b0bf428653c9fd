# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real ansible-playbook in a real pseudo-terminal: the final screen, and all that was ever shown."""

from __future__ import annotations

import codecs
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest
from ansible_collections.evenkeel.flask.plugins.callback import progress

pytestmark = pytest.mark.slow

COLLECTIONS = str(Path(progress.__file__).parents[5])
SEQUENCE = re.compile(r"\x1b\[([0-9;]*)([A-Za-z])")
PLAYBOOK = """
- name: Go on
  hosts: all
  gather_facts: false
  tasks:
    - name: first | Wait for the test
      ansible.builtin.wait_for: {path: go, timeout: 60, sleep: 1}
    - name: first | Say much
      ansible.builtin.debug: {msg: ["a verdict", "of two lines"]}
      run_once: true
    - name: second | Ask
      ansible.builtin.pause: {prompt: Type yes}
    - name: second | Fail
      ansible.builtin.fail: {msg: No room.}
      when: inventory_hostname == 'app2'
"""
INVENTORY = f"""
[all]
app1
app2
[all:vars]
ansible_connection=local
ansible_python_interpreter={sys.executable}
"""


class Terminal:
    """As much of a terminal as is needed to see what a person would: the lines, and where the cursor is."""

    def __init__(self, fd: int, process: subprocess.Popen[bytes]) -> None:
        self.fd = fd
        self.process = process
        self.raw = ""
        self.rows = [""]
        self.row = self.column = 0
        self.decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        self.rest = ""

    def take(self) -> bool:
        """Show what comes next; false at the end."""
        if not select.select([self.fd], [], [], 60)[0]:
            raise AssertionError(f"nothing more comes:\n{self.screen}")
        try:
            data = os.read(self.fd, 65536)
        except OSError:
            return False
        text = self.decode(data)
        self.raw += text
        self.show(self.rest + text)
        return bool(data)

    def show(self, text: str) -> None:
        # A sequence may come in two parts.
        text, self.rest = re.fullmatch(r"(.*?)((?:\x1b(?:\[[0-9;]*)?)?)", text, re.DOTALL).groups()
        while text:
            found = SEQUENCE.match(text)
            if found:
                self.obey(found[2], found[1])
                text = text[found.end() :]
            else:
                self.put(text[0])
                text = text[1:]

    def obey(self, letter: str, number: str) -> None:
        if letter == "A":
            assert int(number) <= self.row, "the cursor leaves the screen"
            self.row -= int(number)
        elif letter == "J":
            self.rows[self.row] = self.rows[self.row][: self.column]
            del self.rows[self.row + 1 :]
        elif letter == "K":
            self.rows[self.row] = self.rows[self.row][: self.column]

    def put(self, letter: str) -> None:
        if letter == "\r":
            self.column = 0
        elif letter == "\n":
            self.row += 1
            self.rows += [""] * (self.row + 1 - len(self.rows))
        elif letter >= " ":
            line = self.rows[self.row].ljust(self.column)
            self.rows[self.row] = line[: self.column] + letter + line[self.column + 1 :]
            self.column += 1

    @property
    def screen(self) -> str:
        return "\n".join(self.rows)

    def until(self, pattern: str) -> None:
        deadline = time.monotonic() + 60
        while not re.search(pattern, self.screen):
            assert time.monotonic() < deadline, f"{pattern} does not come:\n{self.screen}"
            assert self.take(), f"it ended without {pattern}:\n{self.screen}"

    def answer(self, text: str, then: str) -> None:
        """Answer the question that is on the screen, until C(then) is there.

        A pause throws away what was typed before it was ready, and reads letter by letter when it is.
        """
        typed_at = 0.0
        while then not in self.screen:
            is_ready = not termios.tcgetattr(self.fd)[3] & termios.ICANON
            if is_ready and time.monotonic() - typed_at > 5:
                os.write(self.fd, f"{text}\r".encode())
                typed_at = time.monotonic()
            if select.select([self.fd], [], [], 0.1)[0]:
                assert self.take(), f"it ended without {then}:\n{self.screen}"

    def resize(self, columns: int, lines: int = 30) -> None:
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def end(self) -> int:
        while self.take():
            pass
        return self.process.wait(60)


@pytest.fixture(name="terminal")
def _terminal(tmp_path):
    (tmp_path / "play.yml").write_text(PLAYBOOK)
    (tmp_path / "hosts").write_text(INVENTORY)
    opened = []

    def start(columns=90, **variables):
        own, other = pty.openpty()
        environment = {
            name: value for name, value in os.environ.items()
            if not name.startswith("ANSIBLE_") and name != "NO_COLOR"
        }  # fmt: skip
        environment |= {
            "ANSIBLE_COLLECTIONS_PATH": COLLECTIONS,
            "ANSIBLE_STDOUT_CALLBACK": "evenkeel.flask.progress",
            "ANSIBLE_HOME": str(tmp_path / "home"),
            "TERM": "xterm",
        }
        # ansible-test has no scripts of its Ansible in the path.
        command = [sys.executable, "-m", "ansible.cli.playbook", "-i", "hosts", "play.yml"]
        process = subprocess.Popen(
            command, cwd=tmp_path, env={**environment, **variables}, stdin=other, stdout=other,
            stderr=other, start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )  # fmt: skip
        os.close(other)
        terminal = Terminal(own, process)
        terminal.resize(columns)
        opened.append(terminal)
        return terminal

    yield start
    for terminal in opened:
        terminal.process.kill()
        terminal.process.wait()
        os.close(terminal.fd)


def rows_of(screen):
    """The rows of tables: a host, a step, a time and perhaps a verdict."""
    return re.findall(r"^(app\d +\S.*\d\d:\d\d.*?) *$", screen, re.MULTILINE)


def test_a_table_lives_below_the_lines_and_writes_over_nothing(terminal, tmp_path):
    shown = terminal()
    # The step takes long, and the time goes on.
    shown.until(r"app1 +Wait for the test +00:02\n")
    assert len(rows_of(shown.screen)) == 2
    shown.resize(60)
    (tmp_path / "go").touch()
    shown.until("Type yes")
    assert shown.row >= shown.screen[: shown.screen.index("Type yes")].count("\n")
    assert not rows_of(shown.screen)
    shown.answer("yes", "No room.")
    assert shown.end() == 2
    lines = [line.strip() for line in shown.rows if line.strip()]
    wanted = [
        r"Go on",
        r"00:0\d  first \| Wait for the test .*app1 ok, app2 ok|.*app2 ok, app1 ok",
        r"a verdict",
        r"of two lines",
        r".*Type yes.*",
        r".*second \| Fail +app2 failed",
        r"app2: No room.",
        r"host +step +elapsed +verdict",
        r"app1 +\S.* \d\d:\d\d",
        r"app2 +Fail +\d\d:\d\d +failed",
    ]
    found = iter(lines)
    for pattern in wanted:
        assert any(re.fullmatch(pattern, line) for line in found), (pattern, shown.screen)
    assert len(rows_of(shown.screen)) == 2


def test_a_terminal_that_cannot_draw_gets_lines_alone(terminal, tmp_path):
    (tmp_path / "go").touch()
    shown = terminal(TERM="dumb", NO_COLOR="1")
    shown.until("Type yes")
    shown.answer("yes", "No room.")
    assert shown.end() == 2
    assert not re.search(r"\x1b\[\d+A", shown.raw)
    assert not rows_of(shown.screen)


def test_without_colours_the_table_lives_all_the_same(terminal):
    shown = terminal(NO_COLOR="1")
    shown.until(r"app1 +Wait for the test +00:01\n")
    assert not re.search(r"\x1b\[[0-9;]*m", shown.raw)


def test_a_run_that_is_interrupted_takes_its_table_away(terminal):
    shown = terminal()
    shown.until(r"app1 +Wait for the test +00:01\n")
    os.kill(shown.process.pid, signal.SIGINT)
    assert shown.end() != 0
    assert "interrupted" in shown.screen
    assert not rows_of(shown.screen)
