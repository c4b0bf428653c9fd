# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The tests run with what they need, find the candidate, and leave nothing behind, however they end."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path
from types import SimpleNamespace

import pytest
from ansible_collections.evenkeel.flask.plugins.module_utils._artifact import archive
from ansible_collections.evenkeel.flask.plugins.module_utils._gate.check import (
    Failed,
    Inconclusive,
    NotPassed,
)
from ansible_collections.evenkeel.flask.plugins.module_utils._http.client import Url
from ansible_collections.evenkeel.flask.plugins.plugin_utils._suite import evaluate
from ansible_collections.evenkeel.flask.plugins.plugin_utils._suite import run as suite_run
from ansible_collections.evenkeel.flask.plugins.plugin_utils._suite.evaluate import Policy
from ansible_collections.evenkeel.flask.tests.unit.plugins.wheels import make_wheel

# It forwards as little as possible: a client of the port gets the requested target as the response.
SSH = """\
import http.server, os, sys, threading
with open(os.environ["FAKE_SSH_LOG"], "a") as log:
    log.write(" ".join(sys.argv[1:]) + "\\n")
if "cancel" in sys.argv or os.environ.get("FAKE_SSH") == "refused":
    sys.exit("deploy@app1: Permission denied (publickey).")
if os.environ.get("FAKE_SSH") == "taken once" and open(os.environ["FAKE_SSH_LOG"]).read().count("ExitOn") == 1:
    sys.exit("bind [127.0.0.1]: Address already in use")
port, target = sys.argv[sys.argv.index("-L") + 1].removeprefix("127.0.0.1:").split(":", 1)
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(f"{target}{self.path}".encode())
    def log_message(self, *args):
        pass
server = http.server.HTTPServer(("127.0.0.1", int(port)), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
print("Welcome to app1!", flush=True)
print("evenkeel-tunnel", flush=True)
sys.stdin.read()
"""


def wait_until(true):
    until = time.monotonic() + 10
    while not true():
        assert time.monotonic() < until, "it did not come about in 10 s"
        time.sleep(0.01)


def is_gone(pid):
    """Return whether the process has ended, also as a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


@pytest.fixture
def ssh(tmp_path, monkeypatch):
    """A fake ssh command line; C(ssh.arguments()) returns its arguments."""
    script, log = tmp_path / "ssh.py", tmp_path / "ssh.log"
    script.write_text(SSH)
    monkeypatch.setenv("FAKE_SSH_LOG", str(log))

    def command(*words, run=()):
        return [sys.executable, str(script), *words, "app1", *run]

    command.arguments = lambda: log.read_text().splitlines()
    return command


def ask(url):
    with urllib.request.urlopen(url, timeout=5) as answer:
        return answer.read().decode()


@pytest.mark.parametrize(
    ("url", "unix_socket", "asked"),
    [
        ("http://127.0.0.1:8001", None, "127.0.0.1:8001/x"),
        ("http://[::1]:8001/shop/", None, "[::1]:8001/shop/x"),
        ("http://localhost", "/srv/shop/candidate.sock", "/srv/shop/candidate.sock/x"),
    ],
)
def test_the_tunnel_leads_to_the_candidate_and_is_taken_down(
    ssh, tmp_path, url, unix_socket, asked
):
    with suite_run.tunnel(ssh, Url.parse(url), unix_socket, str(tmp_path)) as base_url:
        assert ask(base_url + "/x") == asked
    with pytest.raises(OSError, match="refused"):
        ask(base_url)
    forward, cancel = ssh.arguments()
    spec = forward[forward.index("-L") :].split()[1]
    assert cancel == f"-O cancel -L {spec} app1"


def test_the_tunnel_is_taken_down_when_the_tests_break(ssh, tmp_path):
    url = Url.parse("http://127.0.0.1:8001")
    with (
        pytest.raises(ZeroDivisionError),
        suite_run.tunnel(ssh, url, None, str(tmp_path)) as base_url,
    ):
        raise ZeroDivisionError
    with pytest.raises(OSError, match="refused"):
        ask(base_url)
    assert ssh.arguments()[-1].startswith("-O cancel")


def test_what_ssh_says_is_the_reason(ssh, tmp_path, monkeypatch):
    monkeypatch.setenv("FAKE_SSH", "refused")
    url = Url.parse("http://127.0.0.1:8001")
    with (
        pytest.raises(Inconclusive, match=r"reached over SSH: .*Permission denied"),
        suite_run.tunnel(ssh, url, None, str(tmp_path)),
    ):
        pytest.fail("there is no tunnel")


def test_a_port_that_somebody_else_took_is_no_failure(ssh, tmp_path, monkeypatch):
    monkeypatch.setenv("FAKE_SSH", "taken once")
    with suite_run.tunnel(ssh, Url.parse("http://h"), None, str(tmp_path)) as base_url:
        assert ask(base_url + "/") == "h:80/"


@pytest.mark.parametrize(("breaks", "outcome"), [(True, Inconclusive), (False, Failed)])
def test_tests_that_fail_because_the_connection_broke_say_nothing(ssh, tmp_path, breaks, outcome):
    script = tmp_path / "ssh.py"
    if breaks:
        script.write_text(script.read_text().replace("self.end_headers()", "os._exit(255)"))

    def judged(base_url):
        with contextlib.suppress(OSError):
            ask(base_url)
        raise Failed("1 of 1 test failed")

    tunnel = suite_run.tunnel(ssh, Url.parse("http://h"), None, str(tmp_path))
    with pytest.raises(outcome), tunnel as base_url:
        judged(base_url)


def connection(transport="ssh", **more):
    return SimpleNamespace(transport=transport, **more)


def reach(kind, tmp_path, **params):
    given = {
        "base_url": "http://127.0.0.1:8001/", "unix_socket": None, "health_path": "/health", "timeout": 5,
        "checks": {"suite": {"command": params.pop("command", None)}}, **params,
    }  # fmt: skip
    return suite_run.reach(kind, given, str(tmp_path))


@pytest.mark.parametrize(
    ("kind", "params", "base_url"),
    [
        ("local", {}, "http://127.0.0.1:8001"),
        ("ansible.builtin.local", {}, "http://127.0.0.1:8001"),
        ("local", {"unix_socket": "/s", "command": "x"}, None),
        ("containers.podman.podman", {"command": "x"}, None),
    ],
)
def test_without_ssh_there_is_the_url_itself_or_the_commands_own_way(
    tmp_path, kind, params, base_url
):
    with reach(connection(kind), tmp_path, **params) as found:
        assert found == base_url


@pytest.mark.parametrize(
    ("kind", "params", "named"),
    [
        ("containers.podman.podman", {}, "http://127.0.0.1:8001"),
        ("local", {"unix_socket": "/srv/shop/candidate.sock"}, "/srv/shop/candidate.sock"),
    ],
)
def test_where_there_is_no_way_the_others_are_named(tmp_path, kind, params, named):
    with (
        pytest.raises(Inconclusive) as how,
        reach(connection(kind), tmp_path, **params),
    ):
        pytest.fail("there is no way")
    for word in (kind, named, "checks.suite.command", "checks.suite.junit"):
        assert word in str(how.value)


class Ssh:
    """Of Ansible's connection plugin what is used of it."""

    transport = "ssh"
    host = "app1"

    def __init__(self, program, before=()):
        self.program, self.before = program, before

    def get_option(self, name):
        return {"ssh_executable": self.program[0]}[name]

    def _build_command(self, binary, subsystem, *words):
        assert (binary, subsystem) == (self.program[0], "ssh")
        return [os.fsencode(word) for word in [*self.before, *self.program, *words]]


def test_over_ssh_the_plugins_own_command_line_is_used(ssh, tmp_path):
    plugin = Ssh(ssh()[:2], before=["sshpass", "-d9"])
    with reach(plugin, tmp_path) as base_url:
        assert ask(base_url + "/x") == "127.0.0.1:8001/x"
    assert [line.rpartition("app1")[1] for line in ssh.arguments()] == ["app1", "app1"]


@pytest.mark.parametrize(
    ("unix_socket", "advice"),
    [
        (None, "sshd must have AllowTcpForwarding"),
        ("/s.sock", "AllowStreamLocalForwarding, and the user who logs in must be let to /s.sock"),
    ],
)
def test_a_tunnel_that_nothing_comes_through_is_not_the_candidates_fault(
    ssh, tmp_path, unix_socket, advice
):
    script = tmp_path / "ssh.py"
    script.write_text(script.read_text().replace("self.send_response(200)", "return"))
    with (
        pytest.raises(Inconclusive, match=advice),
        reach(Ssh(ssh()[:2]), tmp_path, unix_socket=unix_socket),
    ):
        pytest.fail("nothing comes through")
    assert ssh.arguments()[-1].startswith("-O cancel")


PLUGINS = os.path.dirname(suite_run.PYTEST_PLUGIN)


@pytest.mark.parametrize(
    ("outer", "base_url", "expected"),
    [
        ({}, None, {}),
        ({"BASE_URL": "http://other", "PYTEST_BASE_URL": "http://other"}, None, {}),
        ({"no_proxy": "a.example"}, None, {"no_proxy": "a.example"}),
        ({"PYTHONPATH": "/mine"}, None, {"PYTHONPATH": f"{PLUGINS}:/mine"}),
        (
            {"BASE_URL": "http://other", "no_proxy": "a.example", "TOKEN": "x"}, "http://shop:1",
            {
                "BASE_URL": "http://shop:1", "PYTEST_BASE_URL": "http://shop:1", "TOKEN": "x",
                "no_proxy": "a.example,127.0.0.1,shop", "NO_PROXY": "127.0.0.1,shop",
            },
        ),
    ],
)  # fmt: skip
def test_the_environment_names_this_candidate_and_no_other(outer, base_url, expected):
    always = {
        "EVENKEEL_HOST": "app1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONPATH": PLUGINS,
    }
    assert suite_run.environment(outer, "app1", base_url) == {**always, **expected}


def execute(command, tmp_path, timeout=30, **env):
    return suite_run.execute(command, str(tmp_path), {**os.environ, **env}, timeout, str(tmp_path))


def test_a_command_runs_in_its_folder_and_all_it_says_is_kept(tmp_path):
    run = execute(["sh", "-c", "pwd; echo $A >&2; exit 3"], tmp_path, A="b\udcff")
    assert (run.status, run.output) == (3, f"{tmp_path}\nb�\n")


def test_a_command_has_no_input_to_wait_for(tmp_path):
    assert execute(["cat"], tmp_path).status == 0


def test_a_program_that_is_not_there_is_named(tmp_path):
    with pytest.raises(Inconclusive, match="nosuch-program cannot be run: No such file"):
        execute(["nosuch-program"], tmp_path)


@pytest.mark.parametrize("deaf", ["", "trap '' TERM; "])
def test_what_takes_too_long_is_ended_with_all_it_started(tmp_path, monkeypatch, deaf):
    monkeypatch.setattr(suite_run, "GRACE_SECONDS", 0.1)
    script = f"{deaf}sleep 60 & echo $! >child; echo begun; sleep 60"
    run = execute(["sh", "-c", script], tmp_path, timeout=0.5)
    assert (run.status, run.output) == (None, "begun\n")
    child = int((tmp_path / "child").read_text())
    wait_until(lambda: is_gone(child))


def test_what_a_command_leaves_running_is_ended(tmp_path):
    assert execute(["sh", "-c", "sleep 60 & echo $! >child"], tmp_path).status == 0
    child = int((tmp_path / "child").read_text())
    wait_until(lambda: is_gone(child))


INTERRUPTED = """\
import os, pathlib, subprocess, sys
from ansible_collections.evenkeel.flask.plugins.plugin_utils._suite import run as suite_run
folder = sys.argv[1]
class Popen(subprocess.Popen):
    def wait(self, *args):
        pathlib.Path(folder, "child").write_text(str(self.pid))
        return super().wait(*args)
subprocess.Popen = Popen
with suite_run.ending_cleanly():
    suite_run.execute(["sleep", "60"], folder, os.environ, 60, folder)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_tests_end_with_the_worker_that_runs_them(tmp_path, number):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", INTERRUPTED, str(tmp_path)]
    with subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL) as worker:
        child = tmp_path / "child"
        wait_until(lambda: child.exists() and child.read_text())
        worker.send_signal(number)
        assert worker.wait(10) == -number
    wait_until(lambda: is_gone(int(child.read_text())))


def test_the_former_handlers_of_signals_come_back():
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with suite_run.ending_cleanly():
        assert signal.getsignal(signal.SIGTERM) != before[1]
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


@pytest.fixture
def venvs(tmp_path, monkeypatch):
    """Makes venvs from wheels in C(tmp_path), without an index."""
    for name in ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS", "PIP_CONFIG_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    make_wheel(tmp_path, "tool", files={"tool.py": "print('tool runs')"})
    return lambda *wanted: suite_run.python_with(wanted, str(tmp_path / "cache"), str(tmp_path))


def _mark(venv):
    os.mkdir(venv)
    Path(venv, ".complete").touch()


def made(tmp_path):
    return sorted(path.parent.name for path in tmp_path.glob("cache/*/.complete"))


@pytest.mark.slow
def test_the_venv_has_what_the_tests_need_and_is_made_once(venvs, tmp_path):
    python = venvs("tool")
    done = subprocess.run([python, "-m", "tool"], stdout=subprocess.PIPE, text=True, check=True)
    assert done.stdout == "tool runs\n"
    (tmp_path / "tool-1.0-py3-none-any.whl").unlink()
    assert venvs("tool") == python
    assert len(made(tmp_path)) == 1


def test_other_needs_are_another_venv(venvs, tmp_path, monkeypatch):
    monkeypatch.setattr(suite_run, "_create", lambda venv, *_args: _mark(venv))
    (tmp_path / "more.txt").write_text("tool\n")
    (tmp_path / "needs.txt").write_text("-r more.txt\n")
    first, second = venvs("tool"), venvs("needs.txt")
    (tmp_path / "more.txt").write_text("tool==1.0\n")
    third = venvs("needs.txt")
    assert len({first, second, third}) == len(made(tmp_path)) == 3
    assert venvs("needs.txt") == third


def test_a_requirement_is_not_taken_for_the_digest_of_a_file(venvs, tmp_path, monkeypatch):
    """A digest is a name that an index can have."""
    monkeypatch.setattr(suite_run, "_create", lambda venv, *_args: _mark(venv))
    (tmp_path / "more.txt").write_text("tool\n")
    (tmp_path / "needs.txt").write_text("-r more.txt\n")
    digest = archive.file_digest(str(tmp_path / "needs.txt"))
    first = venvs("needs.txt")
    (tmp_path / "more.txt").rename(tmp_path / "needs.txt")
    assert venvs("needs.txt", digest) != first


def test_requirements_in_an_unknown_encoding_are_named(venvs, tmp_path):
    (tmp_path / "needs.txt").write_text("# coding: nonsense\ntool\n")
    with pytest.raises(Inconclusive, match=r"needs\.txt: its first lines name an encoding"):
        venvs("needs.txt")


@pytest.mark.slow
def test_hosts_that_come_at_once_make_one_venv(venvs, tmp_path, monkeypatch):
    making = []
    make = suite_run._create
    monkeypatch.setattr(suite_run, "_create", lambda *args: making.append(args) or make(*args))
    together = threading.Barrier(2, timeout=5)
    found = []

    def host():
        together.wait()
        found.append(venvs("tool"))

    hosts = [threading.Thread(target=host) for _each in range(2)]
    for one in hosts:
        one.start()
    for one in hosts:
        one.join()
    assert len(set(found)) == len(making) == 1
    assert len(found) == 2


@pytest.mark.slow
@pytest.mark.parametrize(
    ("wanted", "reason"),
    [
        ("nosuch", "checks.suite.requirements: No matching distribution found for nosuch"),
        ("nosuch.txt", "checks.suite.requirements: .*nosuch.txt cannot be read: No such"),
        ("tool >> 1", "checks.suite.requirements: Invalid requirement"),
    ],
)
def test_what_cannot_be_installed_is_named_and_nothing_half_made_stays(
    venvs, tmp_path, wanted, reason
):
    with pytest.raises(Inconclusive, match=reason):
        venvs(wanted)
    assert [*tmp_path.glob("cache/suite-*/")] == []


@pytest.fixture
def run_pytest(tmp_path, monkeypatch):
    """Runs pytest on one file of tests; its own venv is this one."""
    monkeypatch.setattr(suite_run, "python_with", lambda *needs: sys.executable)
    work, shop = tmp_path / "work", tmp_path / "shop"
    work.mkdir()
    (shop / "tests").mkdir(parents=True)

    def run(text, timeout=60):
        (shop / "tests" / "test_shop.py").write_text(text)
        before = sorted(shop.rglob("*"))
        settings = {"requirements": [], "cache": "", "timeout": timeout}
        # The program that runs these tests, for example ansible-test, has its own plugins for pytest.
        outer = {name: os.environ[name] for name in os.environ if not name.startswith("PYTEST_")}
        # Nor would a venv of its own have the plugins of this one, which take a second to load.
        outer["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
        environment = suite_run.environment(outer, "app1", "http://127.0.0.1:1")
        path = str(shop / "tests")
        done = suite_run.pytest(path, str(tmp_path), environment, settings, str(work))
        assert sorted(shop.rglob("*")) == before
        return evaluate.evaluate_pytest(done, Policy(), timeout)

    return run


def test_tests_find_the_candidate_by_a_fixture_and_by_the_environment(run_pytest):
    finding = run_pytest(
        "import os\n"
        "def test_url(base_url, tmp_path):\n"
        "    assert base_url == os.environ['BASE_URL'] == 'http://127.0.0.1:1'\n"
        "    assert os.getcwd().endswith('/shop')\n"
        "    assert '/work/tmp/' in str(tmp_path)\n"
    )
    assert finding.detail == "1 test passed"


def test_a_fixture_of_the_tests_own_is_left_to_them(run_pytest):
    finding = run_pytest(
        "import pytest\n"
        "@pytest.fixture\n"
        "def base_url(): return 'mine'\n"
        "def test_url(base_url): assert base_url == 'mine'\n"
    )
    assert finding.detail == "1 test passed"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("def test_a(): assert 1 == 2\ndef test_b(): pass", "1 of 2 tests failed: test_a; the first says: assert 1 == 2"),
        ("import nosuch_needed", "No module named 'nosuch_needed'; list what the tests need in checks.suite.req"),
        ("", "the suite is empty: pytest found no test in it"),
        ("import pytest\n@pytest.mark.skip\ndef test_a(): pass", "nothing was tested: 1 skipped"),
        ("import pytest\n@pytest.mark.xfail\ndef test_a(): assert 0", "nothing was tested: 1 skipped"),
        ("import os\ndef test_a(): os._exit(0)", "pytest could not run the tests"),
        ("import os\ndef test_a(): os.kill(os.getpid(), 9)", "pytest was ended by signal 9"),
        ("import pytest\ndef test_a(): pytest.exit('enough')", "pytest could not run the tests"),
    ],
)  # fmt: skip
def test_real_tests_that_do_not_pass_are_no_pass(run_pytest, text, reason):
    with pytest.raises(NotPassed) as how:
        run_pytest(text)
    assert reason in str(how.value)


def test_tests_that_take_too_long_are_inconclusive(run_pytest):
    with pytest.raises(Inconclusive, match="was not done in 1 s"):
        run_pytest("import time\ndef test_a(): time.sleep(60)", timeout=1)


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(Inconclusive, match=r"/nosuch is not there; mend checks.suite.path"):
        suite_run.pytest(str(tmp_path / "nosuch"), "", {}, {}, str(tmp_path))


def test_a_file_that_cannot_be_read_is_no_missing_one(tmp_path):
    assert suite_run.read(str(tmp_path / "nosuch")) is None
    with pytest.raises(Inconclusive, match="cannot be read: Is a directory"):
        suite_run.read(str(tmp_path))
