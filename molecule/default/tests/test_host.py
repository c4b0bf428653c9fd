# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One host of a fleet, as docs/architecture.md has it."""

from __future__ import annotations

import re

from ansible_collections.evenkeel.flask.molecule.shared.testbed import wait_until


def test_nginx_takes_requests_on_the_apps_port(host):
    listening = host.see.socket.get_listening_sockets()
    assert {"tcp://0.0.0.0:8000", "tcp://:::8000"} <= set(listening)


def test_a_candidate_is_reached_on_its_host_alone(host):
    listening = host.see.socket.get_listening_sockets()
    assert [one for one in listening if one.endswith(":8001")] == ["tcp://127.0.0.1:8001"]


def test_the_app_listens_on_its_slots_socket_alone(host):
    listening = host.see.check_output("ss --listening --no-header --processes --tcp --udp --unix")
    apps = [line.split()[4] for line in listening.splitlines() if "gunicorn" in line]
    assert apps == [f"/run/storefront/{host.live_slot}.sock"]


def test_a_slots_socket_is_for_the_app_and_nginx_alone(host):
    socket = host.see.file(f"/run/storefront/{host.live_slot}.sock")
    assert (socket.user, socket.group, socket.mode) == ("storefront", "www-data", 0o660)


def test_one_unit_starts_the_app_at_boot(host):
    enabled = host.see.check_output(
        "systemctl list-unit-files --state=enabled --no-legend 'storefront*'"
    )
    assert [line.split()[0] for line in enabled.splitlines()] == ["storefront.service"]


def test_the_app_runs_as_its_own_user(host):
    assert {one.user for one in host.see.process.filter(comm="gunicorn")} == {"storefront"}


def test_the_app_can_change_nothing_but_its_own_files(host):
    found = host.see.check_output(
        "setpriv --reuid storefront --regid storefront --init-groups"
        " sh -c 'find /etc /home /opt /srv /usr ! -type l -writable 2> /dev/null || true'"
    )
    assert {one.split("/")[3] for one in found.splitlines()} == {"shared"}, found


def test_a_slot_is_sandboxed(host):
    rating = host.see.check_output("systemd-analyze security storefront@blue.service")
    assert float(re.search(r"exposure level for \S+ ([\d.]+)", rating)[1]) <= 1.5


def test_a_release_has_what_its_lock_says_and_nothing_else(host):
    script = "from importlib.metadata import distributions as all; " + (
        "print(*(f'{one.name}=={one.version}' for one in all()))"
    )
    installed = host.see.check_output(f'{host.live_folder}/venv/bin/python -c "{script}"').split()
    lock = host.see.file(f"{host.live_folder}/requirements.lock").content_string
    locked = re.findall(r"^\S+==\S+", lock, re.MULTILINE)
    assert sorted(map(normal, installed)) == sorted(map(normal, locked))


def normal(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def test_a_host_needs_no_pip(host):
    assert not host.see.exists("pip3")
    assert not host.see.run("python3 -m pip").succeeded


def test_the_first_switch_is_in_the_history(host):
    entries = [(one["action"], one["release"], one["previous"]) for one in host.history]
    assert entries == [("release", host.slots[host.live_slot], None)]


def test_every_address_serves_the_same_release(fleet, host):
    assert set(fleet.urls) == {"app1", "app2", "lb1"}
    assert fleet.releases() == {host.slots[host.live_slot]}


def test_a_login_holds_on_every_host(fleet):
    answer = fleet.ask("lb1", "/login", form={"username": "demo", "password": "demo-password"})
    cookie = answer.headers["Set-Cookie"].partition(";")[0]
    for host in fleet.hosts:
        assert "Hello, demo" in fleet.ask(host, "/account", {"Cookie": cookie}).text


def test_pages_are_compressed_and_the_server_tells_no_version(fleet):
    answer = fleet.ask("app1", "/", {"Accept-Encoding": "gzip"})
    assert (answer.headers["Content-Encoding"], answer.headers["Server"]) == ("gzip", "nginx")


def test_a_reboot_brings_back_the_live_slot_and_only_that(fleet):
    host = fleet.hosts["app2"]
    slot, release = host.live_slot, fleet.ask("app2").release
    host.restart()
    wait_until(lambda: fleet.serves("app2"), "app2 serves again")
    assert fleet.ask("app2").release == release
    assert host.live_slot == slot
    assert host.runs_the_live_slot_alone
