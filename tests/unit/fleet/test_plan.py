# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The model of a fleet, and the steps that create or change it."""

from __future__ import annotations

import ipaddress
import shlex
from dataclasses import replace
from urllib.parse import unquote, urlsplit

import pytest
import yaml
from _plan import (
    MAX_APP_HOSTS,
    PORT_POOL,
    FleetError,
    Plan,
    Seen,
    Shape,
    addresses,
    checked_name,
    checked_shape,
    container_name,
    engine_settings,
    free_ports,
    haproxy_config,
    inner_ports,
    inventory,
    mac_address,
    members,
    network_name,
    plan,
    urls,
)
from _plan import yaml as to_yaml

IMAGES = {"app1": "app:1", "app2": "app:1", "data": "data:1"}


def container(host, state="running", fleet="dev", image=None, **other):
    image = image or IMAGES.get(host, "app:1")
    return Seen(container_name(fleet, host), state, image, (network_name(fleet),), **other)


def fleet(*containers):
    return members(containers, "dev")


ALL = [container(host) for host in IMAGES]


class TestNames:
    @pytest.mark.parametrize("name", ["dev", "a", "molecule-third_party", "x1-2y", "a" * 30])
    def test_a_good_name_is_taken_as_it_is(self, name):
        assert checked_name(name) == name

    @pytest.mark.parametrize(
        "name", ["", "Dev", "1a", "a__b", "a--b", "-a", "a-", "a b", "ä", "a\n", "../a", "a" * 31]
    )
    def test_a_name_that_podman_or_a_path_would_stumble_over_is_refused(self, name):
        with pytest.raises(FleetError, match="cannot be a fleet's name: take up to 30 lower-case"):
            checked_name(name)

    @pytest.mark.parametrize("hosts", [1, MAX_APP_HOSTS])
    def test_a_fleet_of_a_size_that_fits_is_taken(self, hosts):
        assert checked_shape(Shape(hosts)) == Shape(hosts)

    @pytest.mark.parametrize("hosts", [-1, 0, MAX_APP_HOSTS + 1])
    def test_a_fleet_of_no_host_or_too_many_is_refused(self, hosts):
        with pytest.raises(FleetError, match=f"--app-hosts is {hosts}: a fleet has from 1 to 30"):
            checked_shape(Shape(hosts))

    @pytest.mark.parametrize(
        ("shape", "hosts"),
        [
            (Shape(1), ["app1"]),
            (Shape(2, lb=True), ["app1", "app2", "lb"]),
            (Shape(2, data=True, lb=True), ["app1", "app2", "data", "lb"]),
        ],
    )
    def test_a_shape_names_its_hosts(self, shape, hosts):
        assert shape.hosts == hosts


class TestMembers:
    def test_they_are_in_the_order_a_reader_expects(self):
        hosts = ["lb", "app10", "data", "app2", "app1"]
        assert list(fleet(*map(container, hosts))) == ["app1", "app2", "app10", "data", "lb"]

    @pytest.mark.parametrize(
        "name",
        [
            "evenkeel-dev2-app1",
            "evenkeel-dev-two-app1",
            "evenkeel-my-dev-app1",
            "evenkeel-dev-app0",
            "evenkeel-dev-app",
            "evenkeel-dev-web",
            "evenkeel-dev",
            "my-evenkeel-dev-app1",
            "evenkeel-dev-app1-old",
        ],
    )
    def test_what_belongs_to_another_fleet_or_to_none_is_not_among_them(self, name):
        assert fleet(replace(container("app1"), name=name)) == {}

    def test_podmans_list_is_read(self):
        listed = {
            "Names": ["evenkeel-dev-app1"],
            "State": "running",
            "Image": "app:1",
            "Networks": ["evenkeel-dev"],
            "Ports": [
                {"container_port": 22, "host_port": 20000, "host_ip": "127.0.0.1"},
                {"container_port": 8000, "host_port": 20001, "host_ip": "127.0.0.1"},
            ],
        }
        assert Seen.from_podman(listed) == container("app1", ports={22: 20000, 8000: 20001})

    def test_a_container_without_network_and_ports_is_read_too(self):
        listed = {
            "Names": ["x"],
            "State": "exited",
            "Image": "app:1",
            "Networks": None,
            "Ports": None,
        }
        assert Seen.from_podman(listed) == Seen("x", "exited", "app:1", ())


class TestPlan:
    def test_a_fleet_that_is_not_there_is_made(self):
        assert plan("dev", IMAGES, {}) == Plan([], [], ["app1", "app2", "data"], [])

    def test_a_fleet_that_is_as_wanted_is_kept(self):
        assert plan("dev", IMAGES, fleet(*ALL)) == Plan(["app1", "app2", "data"], [], [], [])

    @pytest.mark.parametrize("state", ["created", "exited", "stopped"])
    def test_a_host_that_is_switched_off_is_started(self, state):
        found = plan("dev", IMAGES, fleet(container("app1", state), *ALL[1:]))
        assert found == Plan(["app2", "data"], ["app1"], [], [])

    @pytest.mark.parametrize(
        "broken",
        [
            container("app1", image="app:0"),
            container("app1", "exited", image="app:0"),
            replace(container("app1"), networks=("podman",)),
            replace(container("app1"), networks=()),
            container("app1", "paused"),
            container("app1", "dead"),
        ],
    )
    def test_a_host_that_is_not_as_wanted_is_made_anew(self, broken):
        assert plan("dev", IMAGES, fleet(broken, *ALL[1:])) == Plan(
            ["app2", "data"], [], ["app1"], []
        )

    def test_a_host_that_is_wanted_no_more_is_removed_whatever_its_state(self):
        found = plan("dev", IMAGES, fleet(*ALL, container("app3"), container("lb", "exited")))
        assert found.remove == ["app3", "lb"]
        assert found.keep == list(IMAGES)


class TestAddresses:
    def test_every_host_that_may_ever_be_has_one_of_its_own_in_the_network(self):
        found = addresses("10.89.7.0/24")
        assert set(found) == {*Shape(MAX_APP_HOSTS, data=True, lb=True).hosts}
        assert len(set(found.values())) == len(found)
        network = ipaddress.ip_network("10.89.7.0/24")
        assert all(ipaddress.ip_address(address) in network for address in found.values())
        # The first is the bridge's.
        assert "10.89.7.1" not in found.values()

    def test_each_has_one_mac_address_that_no_vendor_has(self):
        found = [mac_address(address) for address in addresses("10.89.7.0/24").values()]
        assert len(set(found)) == len(found)
        assert mac_address("10.89.7.200") == "02:42:0a:59:07:c8"

    def test_ports_that_are_taken_or_unusable_are_passed_over(self):
        first = PORT_POOL.start
        ports = free_ports({first, first + 2}, lambda port: port != first + 1)
        assert [next(ports), next(ports)] == [first + 3, first + 4]

    def test_a_machine_without_a_free_port_is_told_what_to_do(self):
        with pytest.raises(FleetError, match=r"No port is free from 20000 to 29999: take some"):
            next(free_ports(set(), lambda port: False))

    def test_only_what_is_reached_from_outside_is_published(self):
        assert [inner_ports(host) for host in ("app1", "lb", "data")] == [
            [22, 8000],
            [22, 8000],
            [22],
        ]


class TestSettings:
    @pytest.mark.parametrize(
        ("files", "processes", "limits"),
        [
            (1024, 500, ["nofile=1024:1024", "nproc=500:500"]),
            (10**6, 10**6, ["nofile=20000:20000", "nproc=10000:10000"]),
        ],
    )
    def test_podman_asks_for_no_more_than_the_machine_grants(self, files, processes, limits):
        lines = engine_settings(files, processes).splitlines()
        (limit,) = (line for line in lines if line.startswith("default_ulimits"))
        assert limit == f'default_ulimits = ["{limits[0]}", "{limits[1]}"]'
        assert 'runtime = "runc"' in lines

    def test_the_balancer_asks_all_apps_and_nobody_else(self):
        config = haproxy_config(["app1", "app2", "data", "lb"])
        servers = [line.split() for line in config.splitlines() if line.startswith("    server ")]
        assert servers == [["server", "app1", "app1:8000"], ["server", "app2", "app2:8000"]]
        assert "    bind :8000\n" in config

    @pytest.mark.parametrize("setting", ["retries 0", "no option redispatch"])
    def test_the_balancer_hides_no_request_that_a_host_loses(self, setting):
        assert f"    {setting}\n" in haproxy_config(["app1"])

    def test_a_password_survives_its_url(self):
        words = {"postgres_password": "p@:/?#%", "redis_password": "r &+é"}
        found = urls(words)
        for url, password in zip(found.values(), words.values()):
            parts = urlsplit(url)
            assert (parts.username, parts.hostname) == ("storefront", "data")
            assert unquote(parts.password or "") == password


class TestInventory:
    PORTS = {  # noqa: RUF012
        "app1": {22: 20000, 8000: 20001},
        "app2": {22: 20002, 8000: 20003},
        "data": {22: 20004},
        "lb": {22: 20005, 8000: 20006},
    }

    def made(self, ports=None):
        known = "/home/me/my fleet/known_hosts"
        return inventory("dev", ports or self.PORTS, "/home/me/key", known)["all"]

    def test_each_host_is_in_its_groups(self):
        groups = self.made()["children"]
        assert {name: list(group["hosts"]) for name, group in groups.items()} == {
            "app": ["app1", "app2"],
            "postgres": ["data"],
            "redis": ["data"],
            "lb": ["lb1"],
        }

    def test_a_group_without_hosts_is_there_too(self):
        groups = self.made({"app1": self.PORTS["app1"]})["children"]
        assert groups["lb"] == {"hosts": {}}

    def test_a_host_is_reached_by_its_own_port_on_loopback(self):
        hosts = self.made()["hosts"]
        assert {name: (it["ansible_host"], it["ansible_port"]) for name, it in hosts.items()} == {
            "app1": ("127.0.0.1", 20000),
            "app2": ("127.0.0.1", 20002),
            "data": ("127.0.0.1", 20004),
            "lb1": ("127.0.0.1", 20005),
        }
        assert hosts["lb1"]["fleet_container"] == "evenkeel-dev-lb"

    def test_a_host_tells_where_its_app_is_if_it_has_one(self):
        hosts = self.made()["hosts"]
        assert {name: it.get("fleet_http_port") for name, it in hosts.items()} == {
            "app1": 20001,
            "app2": 20003,
            "data": None,
            "lb1": 20006,
        }

    def test_ssh_believes_only_the_fleets_own_keys_wherever_they_lie(self):
        args = shlex.split(self.made()["hosts"]["app1"]["ansible_ssh_common_args"])
        assert args[::2] == ["-o"] * 5
        assert args[1] == 'UserKnownHostsFile="/home/me/my fleet/known_hosts"'
        assert {"GlobalKnownHostsFile=/dev/null", "StrictHostKeyChecking=yes"} <= set(args)

    def test_what_is_written_is_read_the_same(self):
        made = {"all": self.made()}
        assert yaml.safe_load(to_yaml(made)) == made


@pytest.mark.parametrize(
    "value",
    [
        {"a": {}},
        {"a": {"b": {"c": 1}}, "d": [1, None, True]},
        {"a": 'say "hi": \\ #\n\té', "b": "yes", "c": "1", "d": ""},
    ],
)
def test_yaml_is_read_as_it_was_meant(value):
    assert yaml.safe_load(to_yaml(value)) == value
