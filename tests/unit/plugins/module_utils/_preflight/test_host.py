# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is judged about a host, and what is read from it."""

from __future__ import annotations

import contextlib
import os
import platform
import socket
import sys
from dataclasses import replace

import pytest
from ansible_collections.evenkeel.flask.plugins.module_utils import _errors
from ansible_collections.evenkeel.flask.plugins.module_utils._errors import (
    PreflightError,
    PreflightWarning,
)
from ansible_collections.evenkeel.flask.plugins.module_utils._front import config
from ansible_collections.evenkeel.flask.plugins.module_utils._preflight import (
    budget as preflight_budget,
)
from ansible_collections.evenkeel.flask.plugins.module_utils._preflight import host as preflight
from ansible_collections.evenkeel.flask.plugins.module_utils._preflight import (
    report as preflight_report,
)
from ansible_collections.evenkeel.flask.plugins.module_utils._preflight.budget import (
    ConnectionBudget,
)
from ansible_collections.evenkeel.flask.plugins.module_utils._services import (
    address as services_address,
)
from ansible_collections.evenkeel.flask.plugins.module_utils._system import procfs
from ansible_collections.evenkeel.flask.tests.unit.plugins.loopback import serving
from hypothesis import given
from hypothesis import strategies as st

PROC_NET_TCP = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000:1F40 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0 100 0 0 10 0
   1: 0100007F:1F41 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4712 1 0 100 0 0 10 0
   2: 0100007F:1F42 0100007F:C350 01 00000000:00000000 00:00000000 00000000     0        0 4713 1 0 20 4 30 10 -1
"""
PROC_NET_TCP6 = """\
  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000000000000000000000000000:1F40 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4714 1 0 100 0 0 10 0
"""


def test_a_report_gathers_all_under_the_variables_to_change():
    report = preflight_report.Report()
    with report.about("a"):
        raise PreflightError("is wrong.")
    with report.about("b"):
        raise PreflightWarning("may be wrong.")
    with report.about("c"):
        report.facts["c"] = 1
    assert report.problems == ["a: is wrong."]
    assert report.warnings == ["b: may be wrong."]
    assert report.facts == {"c": 1}


@pytest.mark.parametrize(
    ("budget", "wanted", "possible"),
    [
        (ConnectionBudget(workers=5, threads=1, pool_size=20, max_overflow=40, hosts=8), 80, 4800),
        (ConnectionBudget(workers=5, threads=4, pool_size=2, max_overflow=1, hosts=1), 30, 30),
        (
            ConnectionBudget(workers=2, threads=8, pool_size=5, max_overflow=0, hosts=1, slots=1),
            10,
            10,
        ),
    ],
)
def test_a_worker_holds_no_more_than_its_threads_and_its_pool(budget, wanted, possible):
    assert (budget.wanted, budget.possible) == (wanted, possible)


@pytest.mark.parametrize(
    ("allowed", "fits"),
    [(79, "at most gunicorn_workers: 4 fits"), (15, "not even one worker fits")],
)
def test_a_budget_that_is_too_big_is_told_with_the_arithmetic(allowed, fits):
    budget = ConnectionBudget(workers=5, threads=1, pool_size=20, max_overflow=40, hosts=8)
    with pytest.raises(PreflightError) as problem:
        preflight_budget.check_budget([budget], allowed, "max_connections")
    assert "5 workers x 1 connection x 8 hosts x 2 slots = 80" in str(problem.value)
    assert f"the database allows {allowed} (max_connections); {fits}" in str(problem.value)


def test_pools_that_could_hold_too_much_are_a_doubt():
    budget = ConnectionBudget(workers=5, threads=1, pool_size=20, max_overflow=40, hosts=8)
    with pytest.raises(
        PreflightWarning, match=r"5 workers x \(20 \+ 40\) x 8 hosts x 2 slots = 4800"
    ) as doubt:
        preflight_budget.check_budget([budget], 170, "max_connections")
    assert "flask_app_pool_size: 2 with flask_app_pool_max_overflow: 0" in str(doubt.value)
    preflight_budget.check_budget(
        [replace(budget, pool_size=2, max_overflow=0)], 170, "max_connections"
    )


def test_each_host_counts_with_its_own_figures():
    """So a fleet is refused when one host of it asks for too much, and is told which part does."""
    own = {"workers": 5, "threads": 1, "pool_size": 5, "max_overflow": 0}
    budgets = preflight_budget.shares([own, {**own, "workers": 9}, own], 2)
    assert [budget.wanted for budget in budgets] == [20, 18]
    preflight_budget.check_budget(budgets, 190, "max_connections")
    with pytest.raises(
        PreflightError,
        match=r"5 workers x 1 connection x 2 hosts x 2 slots \+ 9 workers x 1 connection x 1 host x 2 slots = 38, "
        r"and the database allows 37 \(max_connections\); lower gunicorn_workers",
    ):
        preflight_budget.check_budget(budgets, 37, "max_connections")


@given(st.lists(st.tuples(st.integers(1, 20), st.integers(1, 8)), min_size=1), st.integers(1, 3))
def test_no_host_of_a_fleet_is_forgotten(hosts, slots):
    figures = [
        {"workers": workers, "threads": threads, "pool_size": 20, "max_overflow": 40}
        for workers, threads in hosts
    ]
    wanted = sum(workers * threads * slots for workers, threads in hosts)
    budgets = preflight_budget.shares(figures, slots)
    assert sum(budget.wanted for budget in budgets) == wanted
    with pytest.raises(PreflightError, match=f"= {wanted}, and the database allows {wanted - 1} "):
        preflight_budget.check_budget(budgets, wanted - 1, "max_connections")


def test_a_budget_that_fits_in_every_case_is_silent():
    budget = ConnectionBudget(workers=1, threads=1, pool_size=1, max_overflow=0, hosts=1)
    preflight_budget.check_budget([budget], 2, "max_connections")


@pytest.mark.parametrize("version", ["3.9.2", "3.10.0", "3.14.0rc1", "4.0"])
def test_a_python_that_is_new_enough_will_do(version):
    preflight.check_python({"python_version": version, "lacks": []}, "3.9", "/usr/bin/python3")


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ({"python_version": "3.8.20", "lacks": []}, "/p is 3.8.20, and 3.9 or newer is wanted"),
        (
            {"python_version": "2.7.18", "lacks": ["venv"]},
            "/p is 2.7.18, and 3.9 or newer is wanted",
        ),
        ({"python_version": "3.11.2", "lacks": ["venv"]}, "/p lacks venv of the standard library"),
        ({"python_version": "3.9.2", "lacks": ["distutils.cmd"]}, "and python3-distutils with 3.9"),
    ],
)
def test_a_python_that_will_not_do_is_refused(found, said):
    with pytest.raises(PreflightError, match=said):
        preflight.check_python(found, "3.9", "/p")


def test_an_interpreter_tells_what_wheels_it_takes():
    found = preflight.describe_python(sys.executable)
    assert found["python_version"] == platform.python_version()
    assert found["python_tag"] == f"cp{sys.version_info[0]}{sys.version_info[1]}"
    assert found["machine"] == platform.machine()
    assert found["libc"] == "-".join(platform.libc_ver())
    assert found["lacks"] == []


@pytest.mark.parametrize("script", ["exit 1", "echo nothing useful"])
def test_an_interpreter_that_is_none_is_refused(tmp_path, script):
    fake = tmp_path / "python3"
    fake.write_text(f"#!/bin/sh\n{script}\n")
    fake.chmod(0o755)
    for path in (fake, tmp_path / "absent"):
        with pytest.raises(PreflightError, match=f"{path} does not run"):
            preflight.describe_python(str(path))


def test_room_is_measured_where_the_directory_would_be(tmp_path):
    room = os.statvfs(tmp_path)
    megabytes = room.f_blocks * room.f_frsize // 10**6
    assert 0 <= preflight.free_mb(str(tmp_path / "not" / "yet")) <= megabytes


def test_too_little_room_is_told_with_both_figures():
    preflight.check_disk("/srv", 500, 500)
    with pytest.raises(
        PreflightError, match="/srv has 120 MB free, 500 are wanted; free some, or lower it"
    ):
        preflight.check_disk("/srv", 120, 500)


@pytest.mark.parametrize(("skew", "said"), [(61, "61 s ahead of"), (-7200, "7200 s behind")])
def test_a_clock_that_is_off_is_refused(skew, said):
    with pytest.raises(PreflightError, match=said):
        preflight.check_clock(skew, 60)


@pytest.mark.parametrize("skew", [-60, 0, 59.9])
def test_a_clock_that_is_nearly_right_will_do(skew):
    preflight.check_clock(skew, 60)


@pytest.mark.parametrize("value", ["http", "", 0, 65536, -1, 80.5, None, "8000 "])
def test_a_port_that_is_none_is_refused(value):
    with pytest.raises(PreflightError, match="is no port"):
        preflight.port_number(value)


@pytest.mark.parametrize("value", [1, "8000", 65535])
def test_a_port_is_a_port(value):
    assert preflight.port_number(value) == int(value)


@pytest.mark.parametrize("holders", [[], ["nginx (pid 7)"], ["nginx (pid 7)", "systemd (pid 1)"]])
def test_a_port_may_be_free_or_its_owners(holders):
    preflight.check_port(8000, holders, ["nginx"])


@pytest.mark.parametrize("holders", [["python3 (pid 123)"], ["nginx-proxy (pid 9)"]])
def test_a_port_of_somebody_else_is_refused(holders):
    with pytest.raises(PreflightError) as problem:
        preflight.check_port(8000, holders, ["nginx"])
    assert str(problem.value) == f"8000 is taken by {holders[0]}; stop it, or choose another port."


@pytest.mark.parametrize(
    ("table", "found"),
    [
        (PROC_NET_TCP, [(8000, "4711"), (8001, "4712")]),
        (PROC_NET_TCP6, [(8000, "4714")]),
        ("", []),
        ("  sl  local_address\n", []),
    ],
)
def test_only_sockets_that_listen_are_read(table, found):
    assert list(procfs.listening(table)) == found


@pytest.fixture(name="proc")
def _proc(tmp_path):
    (tmp_path / "net").mkdir()
    (tmp_path / "net" / "tcp").write_text(PROC_NET_TCP)
    (tmp_path / "net" / "tcp6").write_text(PROC_NET_TCP6)
    for pid, name, inode in (("77", "nginx", "4711"), ("78", "nginx", "4714"), ("9", "sshd", "1")):
        (tmp_path / pid / "fd").mkdir(parents=True)
        (tmp_path / pid / "comm").write_text(f"{name}\n")
        (tmp_path / pid / "fd" / "3").symlink_to(f"socket:[{inode}]")
        (tmp_path / pid / "fd" / "4").symlink_to("/dev/null")
    return tmp_path


def test_who_listens_is_named_by_program_and_pid(proc):
    found = procfs.holders([8000, 8002, 9999], str(proc))
    assert {port: sorted(names) for port, names in found.items()} == {
        8000: ["nginx (pid 77)", "nginx (pid 78)"]
    }


def test_who_listens_unseen_is_still_in_the_way(proc):
    (holder,) = procfs.holders([8001], str(proc))[8001]
    with pytest.raises(PreflightError, match="taken by a program that only root may see"):
        preflight.check_port(8001, [holder], ["nginx"])


def test_our_own_socket_is_found_in_the_real_proc():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        (holder,) = procfs.holders([port])[port]
    assert holder.endswith(f"(pid {os.getpid()})")


@pytest.mark.parametrize("url", ["redis://u:hunter2/@h", "redis://[hunter2", "redis://h:99999"])
def test_a_broken_url_shows_nothing_of_itself(url):
    with pytest.raises(PreflightError, match="is no URL") as problem:
        services_address.split(url)
    assert "hunter2" not in str(problem.value)
    assert problem.value.__cause__ is None


@pytest.mark.parametrize(
    ("host", "said"),
    [
        ("127.0.0.1", "127.0.0.1:9 does not answer"),
        ("/nowhere/socket", "/nowhere/socket does not answer"),
    ],
)
def test_who_does_not_answer_is_named(monkeypatch, host, said):
    def refuse(*_args):
        raise ConnectionRefusedError(111, "Connection refused")

    monkeypatch.setattr(socket, "create_connection", refuse)
    with pytest.raises(PreflightError, match=said):
        services_address.connect(host, 9, 1)


def test_a_name_that_is_not_known_is_named(monkeypatch):
    def unknown(*_args):
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "create_connection", unknown)
    with pytest.raises(PreflightError, match="the name data is not known to this host"):
        services_address.connect("data", 6379, 1)


def test_packets_that_vanish_are_told_with_the_time_waited(monkeypatch):
    def vanish(*_args):
        raise socket.timeout

    monkeypatch.setattr(socket, "create_connection", vanish)
    with pytest.raises(PreflightError, match="data:6379 does not answer within 5 s"):
        services_address.connect("data", 6379, 5)


def test_a_name_that_cannot_be_one_is_no_crash():
    with pytest.raises(PreflightError, match="is not known"):
        services_address.connect("a" * 70 + ".example", 1, 1)


def test_a_database_of_another_kind_is_only_reached():
    with (
        serving(b"") as server,
        pytest.raises(PreflightWarning, match="answers; whether mysql takes the login"),
    ):
        services_address.reach(server.url.replace("http://", "mysql+pymysql://u:p@"), 5)


def test_a_file_is_no_server():
    services_address.reach("sqlite:////srv/shop/shared/shop.db", 5)


def test_a_database_without_an_address_is_a_doubt():
    with pytest.raises(PreflightWarning, match="nothing was proven"):
        services_address.reach("oracle:///?service=x", 5)


@pytest.mark.parametrize("uid", [None, 100, 998, 1000])
def test_a_user_of_its_own_is_the_apps(uid):
    preflight.check_user("shop", uid)


@pytest.mark.parametrize(("name", "uid"), [("root", 0), ("bin", 2), ("www-data", 33)])
def test_a_user_of_the_system_itself_is_never_the_apps(name, uid):
    with pytest.raises(PreflightError, match=f"{name} is a user of the system itself"):
        preflight.check_user(name, uid)


def test_users_are_known_by_their_number():
    assert preflight.user_id("root") == 0
    assert preflight.user_id("no-such-user-here") is None


def test_the_addresses_that_listen_are_read_as_the_kernel_has_them():
    with contextlib.ExitStack() as stack:
        ports = {}
        for address in ("127.0.0.1", "0.0.0.0", "::1", "::"):
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            listener = stack.enter_context(socket.socket(family))
            listener.bind((address, 0))
            listener.listen()
            ports[listener.getsockname()[1]] = address
        assert dict(procfs.addresses(ports)) == ports


def test_a_port_of_another_file_of_nginx_is_refused_with_that_file():
    listens = [config.Listen("0.0.0.0", 8000, 8000)]
    servers = [config.Server("/etc/nginx/conf.d/blog.conf", tuple(listens))]
    own = "/etc/nginx/conf.d/shop.conf"
    with pytest.raises(_errors.PreflightError) as problem:
        preflight.check_listens(listens, servers, [], own, "auto")
    assert str(problem.value) == "port 8000 belongs to /etc/nginx/conf.d/blog.conf; choose another."
    preflight.check_listens(listens, [config.Server(own, tuple(listens))], listens, own, "auto")


def test_a_socket_of_nginx_that_a_reload_could_not_bind_is_refused_before():
    listens = [config.Listen("0.0.0.0", 8061, 8061)]
    running = [config.Listen("127.0.0.1", 8061, 8061)]
    with pytest.raises(
        _errors.PreflightError,
        match=r"nginx listens on 127\.0\.0\.1:8061 and cannot also bind 0\.0\.0\.0:8061",
    ):
        preflight.check_listens(listens, [], running, "/own", "auto")
