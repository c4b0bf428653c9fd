# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An attacker who runs code as the app's user, inside the slot and outside of it. docs/security.md names these tests."""

from __future__ import annotations

import contextlib
import re

import pytest

pytestmark = pytest.mark.usefixtures("members")
AS_THE_APP = "setpriv --reuid victim --regid victim --init-groups"


def outside(host, command):
    """Run a shell command as the app's user, outside of the slot's sandbox."""
    return host.see.check_output(f"{AS_THE_APP} sh -c %s", command)


@pytest.fixture
def inside(attacker):
    """Run Python code inside the slot, and return what it printed."""
    return lambda code: attacker.send("/run", {"Content-Type": "text/plain"}, code).text


@contextlib.contextmanager
def replaced(host, path, by):
    """Put something else in the place of a path of the app, as its user."""
    outside(host, f"mv {path} {path}.kept && {by} {path}")
    try:
        yield
    finally:
        outside(host, f"rm -rf {path} && mv {path}.kept {path}")


def test_root_follows_no_link_of_the_app(fleet):
    valuable, shared = "/opt/valuable", "/srv/victim/shared"
    links = {"app1": f"{shared}/var", "app2": f"{shared}/var/uploads"}
    with contextlib.ExitStack() as stack:
        for name, link in links.items():
            fleet.hosts[name].see.check_output(f"install -d -m 0755 {valuable}")
            stack.enter_context(replaced(fleet.hosts[name], link, f"ln -s {valuable}"))
        play = fleet.play("site")
        assert play.status != 0
        for name, link in links.items():
            assert re.search(rf"{name}.*{link}", play.said)
            see = fleet.hosts[name].see
            assert see.check_output(f"stat -c '%U %G %a' {valuable}") == "root root 755"
            assert see.check_output(f"ls -A {valuable}") == ""
    assert fleet.play("site").status == 0


def test_nothing_in_the_place_of_a_log_stops_a_rollout_for_ever(fleet, another_release):
    """A hang would end only with the time limit of the whole test run."""
    traps = {"app1": ("mkfifo", "ln -s /dev/zero"), "app2": ("mkdir", "ln -s /etc/shadow")}
    with contextlib.ExitStack() as stack:
        for name, (access, app) in traps.items():
            for log, by in (("access", access), ("app", app)):
                path = f"/var/log/victim/{log}.log"
                stack.enter_context(replaced(fleet.hosts[name], path, by))
        play = fleet.play("rollout", *another_release)
    assert play.status == 0 or "/var/log/victim/" in play.said
    assert fleet.play("rollout", *another_release).status == 0


@pytest.mark.parametrize(("user", "group"), [("victim", "victim"), ("nobody", "nogroup")])
def test_nobody_but_root_can_hold_the_lock_of_a_rollout(host, user, group):
    command = f"setpriv --reuid {user} --regid {group} --clear-groups flock -n"
    assert host.see.run(f"{command} /run/evenkeel-victim.lock true").rc != 0


READ = "print(open({path!r}).read()[:80])"
SECRETS = [
    "/etc/shadow",
    "/root/.ssh/authorized_keys",
    "/home/deploy/.ssh/authorized_keys",
    "/srv/victim/left.json",
    "/proc/1/environ",
]


@pytest.mark.parametrize("path", SECRETS)
def test_the_slot_shows_no_secret_of_the_host(inside, path):
    assert "Error" in inside(READ.format(path=path))


@pytest.mark.parametrize(
    "path",
    [
        "/srv/victim/releases/x",
        "/srv/victim/live.sock",
        "/srv/victim/slots/blue",
        "/srv/victim/history.jsonl",
        "/run/evenkeel-victim.lock",
        "/usr/local/bin/x",
        "/etc/x",
    ],
)
def test_the_slot_cannot_change_what_runs(inside, path):
    assert "Error" in inside(f"open({path!r}, 'a').write('x')")
    assert "Error" in inside(f"import os; os.symlink('/tmp', {path!r} + '.new')")


@pytest.mark.parametrize(
    "code",
    [
        "import os; os.setuid(0)",
        "import ctypes; assert ctypes.CDLL(None).unshare(0x10000000) == 0",
        "import os; os.kill(1, 15)",
        "import socket; socket.socket(socket.AF_PACKET, socket.SOCK_RAW)",
        "import mmap; mmap.mmap(-1, 4096, prot=mmap.PROT_WRITE | mmap.PROT_EXEC)",
        "import os; os.mknod('/srv/victim/shared/node', 0o060600, os.makedev(254, 0))",
    ],
    ids=["setuid", "namespace", "signal", "raw-socket", "executable-memory", "device"],
)
def test_the_slot_gives_no_further_rights(inside, code):
    assert "Error" in inside(code)


def test_the_redis_that_an_intruder_reads_holds_no_cookie_of_a_user(inside, visitor):
    cookie = visitor.log_in("ann")["Cookie"].partition("=")[2]
    code = """
import os, redis
server = redis.Redis.from_url(os.environ["REDIS_URL"], decode_responses=True)
for key in server.scan_iter("storefront:victim:*"):
    print(key, server.get(key) if server.type(key) == "string" else "")
"""
    found = inside(code)
    assert "ann" in found
    assert cookie not in found


def test_what_an_intruder_leaves_does_not_run_in_the_next_release(fleet, host, another_release):
    """Python reads no file below the app's home directory when it starts."""
    mark = "/srv/victim/shared/ran"
    packages = ".local/lib/python3.11/site-packages"
    line = f"import os; os.mknod({mark!r})"
    outside(
        host,
        f'cd /srv/victim/shared && mkdir -p {packages} && echo "{line}" | tee {packages}/evil.pth'
        " sitecustomize.py usercustomize.py",
    )
    try:
        assert fleet.play("rollout", *another_release).status == 0
        assert not host.see.file(mark).exists
    finally:
        outside(
            host, "cd /srv/victim/shared && rm -rf .local sitecustomize.py usercustomize.py ran"
        )
