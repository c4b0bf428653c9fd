# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plan a fleet: its names, ports and files, and the changes to get there.

Pure, so all of it is tested without a machine.
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

PREFIX = "evenkeel-"
SSH_PORT = 22
HTTP_PORT = 8000
MAX_APP_HOSTS = 30

# Ansible warns at every run of a host that is called as its group is.
INVENTORY_NAMES = {"lb": "lb1"}

# Below the kernel's ephemeral range: no outgoing connection can take the port
# of a container that is being restarted.
PORT_POOL = range(20000, 30000)

_FLEET = re.compile(r"[a-z][a-z0-9]*([-_][a-z0-9]+)*")
_CONTAINER = re.compile(rf"{PREFIX}({_FLEET.pattern})-(app[1-9][0-9]*|data|lb)")

HAPROXY = """\
# Retries and redispatch are off: a request that a host loses shall be seen. A
# check may take long on a busy machine; a host that is gone refuses it at once.
global
    maxconn 4000
    stats socket /run/haproxy/admin.sock mode 660 level admin
defaults
    mode http
    retries 0
    no option redispatch
    timeout connect 5s
    timeout client 60s
    timeout server 60s
    timeout check 10s
frontend users
    bind :{port}
    default_backend app
backend app
    balance roundrobin
    option forwardfor
    option httpchk GET /health
    default-server check inter 500ms fall 2 rise 1
{servers}
"""

# The password's hash is all that Redis needs to know.
REDIS_ACL = """\
user default off
user storefront on #{digest} ~storefront:* &storefront:* +@all -@dangerous +info
"""


class FleetError(Exception):
    """The fleet cannot be created as requested; the message has the cause and the action."""


@dataclass(frozen=True)
class Shape:
    """The requested content of a fleet."""

    app_hosts: int = 2
    data: bool = False
    lb: bool = False

    @property
    def hosts(self) -> list[str]:
        apps = [f"app{number}" for number in range(1, self.app_hosts + 1)]
        return apps + ["data"] * self.data + ["lb"] * self.lb


@dataclass(frozen=True)
class Seen:
    """A container as podman lists it."""

    name: str
    state: str
    image: str
    networks: tuple[str, ...]
    ports: Mapping[int, int] = field(default_factory=dict)

    @classmethod
    def from_podman(cls, listed: Mapping[str, Any]) -> Seen:
        return cls(
            name=listed["Names"][0],
            state=listed["State"],
            image=listed["Image"],
            networks=tuple(listed["Networks"] or ()),
            ports={port["container_port"]: port["host_port"] for port in listed["Ports"] or ()},
        )


@dataclass(frozen=True)
class Plan:
    """The changes to the hosts of a fleet. A new container replaces the one with its name."""

    keep: list[str]
    start: list[str]
    make: list[str]
    remove: list[str]


def checked_name(fleet: str) -> str:
    if not _FLEET.fullmatch(fleet) or len(fleet) > 30:
        raise FleetError(
            f"{fleet!r} cannot be a fleet's name: "
            "take up to 30 lower-case letters and digits, joined by single dashes or underscores."
        )
    return fleet


def checked_shape(shape: Shape) -> Shape:
    if not 1 <= shape.app_hosts <= MAX_APP_HOSTS:
        raise FleetError(
            f"--app-hosts is {shape.app_hosts}: a fleet has from 1 to {MAX_APP_HOSTS} app hosts."
        )
    return shape


def network_name(fleet: str) -> str:
    return f"{PREFIX}{fleet}"


def container_name(fleet: str, host: str) -> str:
    return f"{PREFIX}{fleet}-{host}"


def members(seen: Sequence[Seen], fleet: str) -> dict[str, Seen]:
    """The containers of one fleet, by host, in the order a reader expects."""
    found = {}
    for container in seen:
        parts = _CONTAINER.fullmatch(container.name)
        if parts and parts[1] == fleet:
            found[parts[3]] = container
    return {host: found[host] for host in sorted(found, key=_host_order)}


def _host_order(host: str) -> tuple[str, int]:
    kind = host.rstrip("0123456789")
    return kind, int(host[len(kind) :] or 0)


def plan(fleet: str, images: Mapping[str, str], seen: Mapping[str, Seen]) -> Plan:
    """Compare the requested hosts with the existing ones.

    @param images: the image of every requested host
    @param seen: the fleet's containers by host
    """
    network = (network_name(fleet),)
    sound = {
        host
        for host, image in images.items()
        if host in seen and seen[host].image == image and seen[host].networks == network
    }
    running = {host for host in sound if seen[host].state == "running"}
    stopped = {host for host in sound if seen[host].state in {"created", "exited", "stopped"}}
    return Plan(
        keep=[host for host in images if host in running],
        start=[host for host in images if host in stopped],
        make=[host for host in images if host not in running | stopped],
        remove=[host for host in seen if host not in images],
    )


def inner_ports(host: str) -> list[int]:
    """The ports of a host that are published."""
    return [SSH_PORT] if host == "data" else [SSH_PORT, HTTP_PORT]


def free_ports(taken: Container[int], usable: Callable[[int], bool]) -> Iterator[int]:
    """Ports for new containers: C(taken) ones may belong to a container that is stopped just now."""
    for port in PORT_POOL:
        if port not in taken and usable(port):
            yield port
    raise FleetError(
        f"No port is free from {PORT_POOL.start} to {PORT_POOL.stop - 1}: take some fleets down."
    )


def addresses(subnet: str) -> dict[str, str]:
    """A fixed address for every host that a fleet may ever have.

    With these in their hosts files from the start, containers find each other by
    name without a name server, also those that join later.
    """
    pool = ipaddress.ip_network(subnet)
    apps = {f"app{number}": str(pool[10 + number]) for number in range(1, MAX_APP_HOSTS + 1)}
    return {"data": str(pool[5]), "lb": str(pool[6]), **apps}


def mac_address(address: str) -> str:
    """Return one MAC for each address, so that ARP caches of the neighbours stay valid over a restart.

    podman assigns a new one each time, and the neighbours lose their connection to the host for
    half a minute.
    """
    return "02:42:" + ":".join(f"{int(part):02x}" for part in address.split("."))


def engine_settings(max_files: int, max_processes: int) -> str:
    """A containers.conf for machines that refuse podman's default runtime, or the limits it sets."""
    files, processes = min(max_files, 20000), min(max_processes, 10000)
    return (
        "[containers]\n"
        f'default_ulimits = ["nofile={files}:{files}", "nproc={processes}:{processes}"]\n'
        "[engine]\n"
        'runtime = "runc"\n'
    )


def haproxy_config(hosts: Sequence[str]) -> str:
    apps = [host for host in hosts if host.startswith("app")]
    servers = [f"    server {host} {host}:{HTTP_PORT}" for host in apps]
    return HAPROXY.format(port=HTTP_PORT, servers="\n".join(servers))


def urls(words: Mapping[str, str]) -> dict[str, str]:
    """Return the addresses of the database and of Redis for an app of the fleet."""
    database, redis = (
        quote(words[key], safe="") for key in ("postgres_password", "redis_password")
    )
    return {
        "database_url": f"postgresql+psycopg://storefront:{database}@data:5432/storefront",
        "redis_url": f"redis://storefront:{redis}@data:6379/0",
    }


def inventory(
    fleet: str, ports: Mapping[str, Mapping[int, int]], key: str, known_hosts: str
) -> dict[str, Any]:
    """The inventory of a fleet as its user would write it.

    @param ports: for every host the loopback port of each port it publishes
    """
    # Each option has two levels of quotes: Ansible removes the outer ones, ssh the inner.
    ssh = (
        f"-o 'UserKnownHostsFile=\"{known_hosts}\"' -o GlobalKnownHostsFile=/dev/null "
        "-o StrictHostKeyChecking=yes -o IdentitiesOnly=yes -o IdentityAgent=none"
    )
    hosts: dict[str, dict[str, Any]] = {}
    for host, published in ports.items():
        settings = hosts[INVENTORY_NAMES.get(host, host)] = {
            "ansible_host": "127.0.0.1",
            "ansible_port": published[SSH_PORT],
            "ansible_user": "deploy",
            "ansible_ssh_private_key_file": key,
            "ansible_ssh_common_args": ssh,
            "ansible_python_interpreter": "/usr/bin/python3",
            "fleet_container": container_name(fleet, host),
        }
        if HTTP_PORT in published:
            settings["fleet_http_port"] = published[HTTP_PORT]

    def group(*kinds: str) -> dict[str, Any]:
        return {"hosts": {host: {} for host in hosts if _host_order(host)[0] in kinds}}

    groups = {
        "app": group("app"),
        "postgres": group("data"),
        "redis": group("data"),
        "lb": group("lb"),
    }
    return {"all": {"hosts": hosts, "children": groups}}


def yaml(value: Mapping[str, Any], indent: str = "") -> str:
    """Nested mappings as YAML; a scalar's JSON is YAML already."""
    lines = []
    for key, inner in value.items():
        if isinstance(inner, Mapping) and inner:
            lines.append(f"{indent}{key}:\n{yaml(inner, indent + '  ')}")
        else:
            lines.append(f"{indent}{key}: {json.dumps(inner)}\n")
    return "".join(lines)
