# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Balancers send no users to a host during its switch, and no request fails.

The tests run in order, and v1 is live at the start. A hook of the run itself reads the state of
the balancer at the moment of a switch.
"""

from __future__ import annotations

import json
import re
from concurrent.futures import ThreadPoolExecutor

import pytest
from ansible_collections.evenkeel.flask.molecule.shared.testbed import QUICK, wait_until

HAPROXY = {"haproxy": {"backend": "app"}}
UPSTREAM = "/etc/nginx/conf.d/shop.conf"
NGINX = {"nginx": {"file": UPSTREAM}}
NGINX_CONF = """\
upstream shop {
    server app1:8000;
    server app2:8000;
    server 192.0.2.1:8000 down;  # a person's
}
server {
    listen 8000;
    location / {
        proxy_pass http://shop;
        proxy_next_upstream off;
        add_header X-Upstream $upstream_addr always;
    }
}
"""
# Its files were left by the image, as for the hosts.
INSTALL = f"""\
systemctl stop haproxy
apt-get -q -y install --no-install-recommends nginx >/dev/null
rm -f /etc/nginx/sites-enabled/default
cat > {UPSTREAM} <<'END'
{NGINX_CONF}END
systemctl restart nginx
"""
ASK_HAPROXY = """\
import csv, socket
connection = socket.socket(socket.AF_UNIX)
connection.connect('/run/haproxy/admin.sock')
connection.sendall(b'%s\\n')
print(connection.makefile().read())
"""


class Lb:
    """The load balancer from within."""

    def __init__(self, host):
        self.container = host.container
        self.see = host.see

    def send(self, command):
        return self.see.check_output("python3 -c %s", ASK_HAPROXY % command)

    @property
    def servers(self):
        """The state of each server, as HAProxy reports it."""
        lines = (line.split(",") for line in self.send("show stat").splitlines())
        return {line[1]: line[17] for line in lines if line[:1] == ["app"] and line[1] != "BACKEND"}


@pytest.fixture(scope="module")
def lb(fleet):
    return Lb(fleet.props["lb1"])


@pytest.fixture(scope="module")
def look(fleet, lb):
    """Makes hooks that note what the balancer has, and returns what was noted."""
    notes = fleet.folder / "notes"
    command = ["podman", "exec", lb.container, "python3", "-c", ASK_HAPROXY % "show stat"]

    def noted():
        noted_lines = notes.read_text() if notes.exists() else ""
        notes.unlink(missing_ok=True)
        return re.findall(r"^app,(app\d),.*?,(UP|DRAIN|MAINT|DOWN)", noted_lines, re.M)

    script = fleet.folder / "look"
    script.write_text('#!/bin/sh\n"$@" >> notes\n')
    script.chmod(0o755)
    hook = {"command": ["./look", *command]}
    yield {"before_switch": hook, "after_switch": hook}, noted
    notes.unlink(missing_ok=True)


def settings(drain=None, **more):
    wanted = {**QUICK, "rollout_drain": drain or HAPROXY, **more}
    return ("--extra-vars", json.dumps(wanted))


@pytest.fixture(scope="module")
def to_v2(fleet, look):
    fleet.lay_out("v2")
    hooks, noted = look
    play = fleet.play_under_load("rollout", *settings(rollout_hooks=hooks))
    return play, noted()


def test_haproxy_sends_no_users_to_a_host_that_is_switched(to_v2):
    play, noted = to_v2
    assert play.status == 0
    up, drained = "UP", "DRAIN"
    # Before and after the switch of the first host, and then of the second.
    states = [(up, up) if step % 2 else (drained, up) for step in range(2)]
    states += [(up, drained), (up, up)]
    assert noted == [(f"app{n}", s) for pair in states for n, s in enumerate(pair, 1)]


def test_no_request_is_lost_by_it(fleet, to_v2):
    play, _noted = to_v2
    assert play.users.failed == 0
    assert {str(release).partition("-")[0] for release in fleet.releases()} == {"2.0.0"}


def test_the_same_release_again_drains_nobody_and_changes_nothing(fleet, lb, to_v2):
    play = fleet.play("rollout", *settings())
    assert (play.status, play.changed) == (0, 0)


@pytest.fixture(scope="module")
def all_at_once(fleet, look, to_v2):
    """Both hosts in a batch, and a request of ten seconds under way in each old slot at its switch."""
    (fleet.folder / "storefront" / "NOTES").write_text("both at once\n")
    hooks, noted = look
    before = fleet.releases()
    wait = 'touch asked; until [ -e under_way ]; do sleep 0.1; done; exec "$@"'
    waits = {
        "command": ["sh", "-c", wait, "-", *hooks["before_switch"]["command"]],
    }
    args = settings(rollout_hooks={"before_switch": waits}, rollout_batches=["100%"])
    asked, under_way = fleet.folder / "asked", fleet.folder / "under_way"
    slots = {name: host.live_slot for name, host in fleet.hosts.items()}
    with ThreadPoolExecutor(3) as pool:
        play = pool.submit(fleet.play, "rollout", *args)
        try:
            wait_until(lambda: asked.exists() or play.done(), "the hosts are about to be switched")
            answers = {
                name: pool.submit(fleet.ask, name, "/reports/sales?delay=10")
                for name in fleet.hosts
            }
            for name, host in fleet.hosts.items():
                wait_until(lambda h=host, s=slots[name]: h.connections(s), f"{name} is asked")
        finally:
            under_way.touch()
        results = play.result(), noted(), before, {n: a.result() for n, a in answers.items()}
    asked.unlink()
    under_way.unlink()
    return results


def test_of_all_that_are_switched_at_once_one_stays_in_service(lb, all_at_once):
    play, noted, _before, _answers = all_at_once
    assert play.status == 0
    assert "is the last server of HAProxy's backend app that serves" in play.said
    assert sorted(state for _name, state in noted) == ["DRAIN", "UP"]
    assert lb.servers == {"app1": "UP", "app2": "UP"}


def test_a_request_that_is_under_way_is_finished_by_the_slot_that_is_retired(fleet, all_at_once):
    play, _noted, before, answers = all_at_once
    for name, answer in answers.items():
        assert (answer.status, {answer.release}) == (200, before)
        assert {fleet.ask(name).release} != before
        assert fleet.hosts[name].runs_the_live_slot_alone
    assert play.status == 0


def test_a_host_is_put_back_where_the_run_fails_in_between(fleet, lb, all_at_once):
    before = fleet.releases()
    (fleet.folder / "storefront" / "NOTES").write_text("a hook fails\n")
    play = fleet.play("rollout", *settings(rollout_hooks={"before_switch": {"command": ["false"]}}))
    assert play.status != 0
    assert fleet.releases() == before
    assert lb.servers == {"app1": "UP", "app2": "UP"}


@pytest.fixture(scope="module")
def cut_off(fleet, lb, all_at_once):
    """A run that was killed while a host was drained, and meanwhile a person took the other one out."""
    (fleet.folder / "storefront" / "NOTES").write_text("cut off\n")
    stuck = settings(rollout_hooks={"before_switch": {"command": ["sleep", "300"]}})
    fleet.cut_off("rollout", lambda: lb.servers["app1"] == "DRAIN", "app1 is drained", *stuck)
    status = fleet.play("status", *settings())
    lb.send("set server app/app2 state maint")
    (fleet.folder / "storefront" / "NOTES").write_text("too late\n")
    # Nothing is proven, and nothing is switched.
    refused = settings(rollout_hooks={"after_migrate": {"command": ["false"]}})
    return status, fleet.play("rollout", *refused)


def test_the_status_shows_a_host_that_is_drained(cut_off):
    status, _play = cut_off
    assert status.status == 0
    assert re.search(r"app1 .* drained", status.said)
    assert re.search(r"app2 .* serving", status.said)


def test_the_next_run_puts_it_back_whatever_comes_of_it(lb, cut_off):
    _status, play = cut_off
    assert play.status != 0
    assert lb.servers["app1"] == "UP"


def test_what_a_person_took_out_stays_out(lb, cut_off):
    _status, play = cut_off
    assert "app2 was taken out of HAProxy's backend app by hand" in play.said
    assert lb.servers["app2"] == "MAINT"


def test_a_balancer_that_cannot_be_asked_is_told_before_anybody_is_touched(fleet, lb, all_at_once):
    before = fleet.releases()
    play = fleet.play("rollout", *settings({"haproxy": {"backend": "apps"}}))
    assert play.status != 0
    assert "HAProxy says of its backend apps: Can't find backend." in play.said
    assert fleet.releases() == before


@pytest.fixture(scope="module")
def behind_nginx(fleet, lb, cut_off):
    lb.see.check_output("sh -euc %s", INSTALL)
    wait_until(lambda: fleet.serves("lb1"), "nginx serves")
    (fleet.folder / "storefront" / "NOTES").write_text("behind nginx\n")
    asked = fleet.folder / "upstreams"
    url = f"{fleet.urls['lb1']}/health"
    script = (
        f'for n in 1 2 3 4; do curl -s -o /dev/null -D - {url} | grep -i x-upstream; done >> "$0"'
    )
    hook = {"command": ["sh", "-c", script, asked.name]}
    hooks = {"before_switch": hook}
    play = fleet.play_under_load("rollout", *settings(NGINX, rollout_hooks=hooks))
    upstreams = re.findall(r"(?i)x-upstream: (\S+)", asked.read_text())
    asked.unlink()
    return play, upstreams


def test_nginx_sends_no_users_to_a_host_that_is_switched(lb, behind_nginx):
    play, asked = behind_nginx
    assert play.status == 0
    addresses = {
        name: lb.see.check_output("getent hosts %s", name).split()[0] for name in ("app1", "app2")
    }
    assert asked == [f"{addresses['app2']}:8000"] * 4 + [f"{addresses['app1']}:8000"] * 4


def test_no_request_is_lost_by_its_reloads(behind_nginx):
    play, _asked = behind_nginx
    assert play.users.failed == 0


def test_its_file_is_as_it_was(lb, behind_nginx):
    assert lb.see.file(UPSTREAM).content_string == NGINX_CONF


@pytest.fixture(scope="module")
def in_aws(fleet, behind_nginx):
    """A target group at moto's server; a hook records its state."""
    boto3 = pytest.importorskip("boto3")
    from moto.server import ThreadedMotoServer

    moto = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    moto.start()
    environment = {
        "AWS_ENDPOINT_URL": "http://{}:{}".format(*moto.get_host_and_port()),
        "AWS_ACCESS_KEY_ID": "nobody",
        "AWS_SECRET_ACCESS_KEY": "nothing",
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        region = {"region_name": "eu-central-1"}
        vpc = boto3.client("ec2", **region).create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
        client = boto3.client("elbv2", **region)
        made = client.create_target_group(
            Name="shop", Protocol="HTTP", Port=80, VpcId=vpc, TargetType="ip"
        )
        arn = made["TargetGroups"][0]["TargetGroupArn"]
        targets = [{"Id": f"10.0.0.{number}", "Port": 8000} for number in (1, 2)]
        client.register_targets(TargetGroupArn=arn, Targets=targets)
        script = (
            "import boto3, sys; client = boto3.client('elbv2', region_name='eu-central-1'); "
            "print(*(health['Target']['Id'] for health in client.describe_target_health("
            "TargetGroupArn=sys.argv[1])['TargetHealthDescriptions']), file=open('targets', 'a'))"
        )
        hook = {"command": ["python3", "-c", script, arn]}
        drain = {"target_group": {"arn": arn}, "server": "10.0.0.{{ inventory_hostname[3:] }}"}
        (fleet.folder / "storefront" / "NOTES").write_text("in AWS\n")
        play = fleet.play("rollout", *settings(drain, rollout_hooks={"before_switch": hook}))
        after = client.describe_target_health(TargetGroupArn=arn)["TargetHealthDescriptions"]
    moto.stop()
    seen = fleet.folder / "targets"
    lines = seen.read_text().splitlines()
    seen.unlink()
    return play, lines, {health["Target"]["Id"]: health["Target"]["Port"] for health in after}


def test_aws_sends_no_users_to_a_host_that_is_switched(in_aws):
    play, registered, _after = in_aws
    assert play.status == 0
    assert registered == ["10.0.0.2", "10.0.0.1"]


def test_its_targets_are_registered_as_before(in_aws):
    _play, _registered, after = in_aws
    assert after == {"10.0.0.1": 8000, "10.0.0.2": 8000}
