# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make and remove fleets of containers that boot systemd and are reached over SSH, as hosts are.

A fleet has the containers evenkeel-NAME-app1, -app2 and so on, and at wish -data
(PostgreSQL, Redis) and -lb (HAProxy), on a network of its own. Its inventory,
key and secrets are in .cache/fleet/NAME. It needs podman, and no registry.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import secrets
import shutil
import socket
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import _podman
from _images import LABEL, Images
from _plan import (
    PREFIX,
    SSH_PORT,
    FleetError,
    Plan,
    Seen,
    Shape,
    addresses,
    checked_name,
    checked_shape,
    container_name,
    free_ports,
    inner_ports,
    inventory,
    mac_address,
    members,
    network_name,
    plan,
    urls,
    yaml,
)
from _podman import CACHE, podman, say, shell
from _props import set_up_data, set_up_lb

BOOT_SECONDS = 60

# It prints the host's public key. A user can log in only after the boot, even if sshd
# already responds.
SETTLE = """\
install -d -m 0700 -o deploy -g deploy /home/deploy/.ssh
echo '{key}' > /home/deploy/.ssh/authorized_keys
timeout {seconds} sh -c 'until systemctl is-system-running | grep -qE "running|degraded"; do sleep 0.1; done'
systemctl start ssh
cut -d " " -f 1,2 /etc/ssh/ssh_host_ed25519_key.pub
"""


class Fleet:
    """One fleet on this machine."""

    def __init__(self, name: str) -> None:
        self.name = checked_name(name)
        self.folder = CACHE / name

    @property
    def key(self) -> Path:
        return self.folder / "id_ed25519"

    @property
    def known_hosts(self) -> Path:
        return self.folder / "known_hosts"

    @property
    def hosts_file(self) -> Path:
        return self.folder / "hosts.yml"

    def seen(self) -> dict[str, Seen]:
        """The hosts there are.

        @raises FleetError: if there is none
        """
        found = members(_podman.containers(), self.name)
        if not found:
            raise FleetError(
                f"There is no fleet {self.name}: make it with `fleet.py up {self.name}`."
            )
        return found

    def up(self, shape: Shape, images: Images) -> None:
        hosts = checked_shape(shape).hosts
        with _podman.locked(f"fleet {self.name}"):
            wanted = {host: images.of(host) for host in hosts}
            _podman.choose_settings(wanted["app1"])
            self.folder.mkdir(parents=True, exist_ok=True)
            subnet = _podman.network_subnet(network_name(self.name))
            steps = plan(self.name, wanted, members(_podman.containers(), self.name))
            self._apply(steps, wanted, addresses(subnet))
            self._settle(hosts, self.seen())
            if shape.data:
                set_up_data(container_name(self.name, "data"), self._words())
            if shape.lb:
                set_up_lb(container_name(self.name, "lb"), hosts)
            self.write_inventory()

    def _apply(self, steps: Plan, images: dict[str, str], hosts_file: dict[str, str]) -> None:
        names = {host: container_name(self.name, host) for host in [*images, *steps.remove]}
        for word, hosts in (
            ("removing", steps.remove),
            ("starting", steps.start),
            ("making", steps.make),
        ):
            if hosts:
                say(f"{word} {' '.join(names[host] for host in hosts)}")
        _podman.remove_containers([names[host] for host in steps.remove])
        # A port is taken as soon as a container that publishes it is made.
        with _podman.locked("ports"):
            taken = {port for one in _podman.containers() for port in one.ports.values()}
            ports = free_ports(taken, _podman.bindable)
            for host in steps.make:
                published = [f"127.0.0.1:{next(ports)}:{inner}" for inner in inner_ports(host)]
                address = hosts_file[host]
                podman(
                    "create", "--replace", "--name", names[host], "--hostname", host,
                    "--systemd=always", "--network", network_name(self.name),
                    "--ip", address, "--mac-address", mac_address(address),
                    *(f"--add-host={name}:{known}" for name, known in hosts_file.items()),
                    *(f"--publish={mapping}" for mapping in published),
                    images[host], "/sbin/init",
                )  # fmt: skip
        _for_each([*steps.start, *steps.make], lambda host: podman("start", names[host]))

    def _settle(self, hosts: Sequence[str], seen: dict[str, Seen]) -> None:
        """Wait until the hosts accept SSH logins with the fleet's key, and read their host keys."""
        if not self.key.exists():
            _podman.run(
                "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", self.name, "-f", str(self.key)
            )
        key = self.key.with_suffix(".pub").read_text(encoding="utf-8").strip()
        script = SETTLE.format(key=key, seconds=BOOT_SECONDS)

        def settle(host: str) -> str:
            host_key = shell(seen[host].name, script)
            port = seen[host].ports[SSH_PORT]
            _await_ssh(seen[host].name, port)
            return f"[127.0.0.1]:{port} {host_key}"

        lines = _for_each(hosts, settle)
        self.known_hosts.write_text("".join(lines), encoding="utf-8")

    def _words(self) -> dict[str, str]:
        """The fleet's secrets, made at the first asking, and the URLs that carry them."""
        path = self.folder / "secrets.json"
        known = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        words = {
            name: known.get(name) or secrets.token_urlsafe(18)
            for name in ("postgres_password", "redis_password", "secret_key")
        }
        words.update(urls(words))
        self.write_secrets(words)
        return words

    def write_secrets(self, words: Mapping[str, str]) -> None:
        path = self.folder / "secrets.json"
        path.touch(mode=0o600)
        path.write_text(json.dumps(words, indent=2) + "\n", encoding="utf-8")

    def write_inventory(self) -> str:
        ports = {host: one.ports for host, one in self.seen().items()}
        text = "---\n" + yaml(inventory(self.name, ports, str(self.key), str(self.known_hosts)))
        self.folder.mkdir(parents=True, exist_ok=True)
        self.hosts_file.write_text(text, encoding="utf-8")
        return text

    def status(self) -> str:
        rows = []
        for host, one in self.seen().items():
            ports = "  ".join(f"{inner} on 127.0.0.1:{outer}" for inner, outer in one.ports.items())
            rows.append(f"{host:<6} {one.state:<9} {one.image}  {ports}\n")
        return "".join(rows)

    def down(self) -> None:
        with _podman.locked(f"fleet {self.name}"):
            found = members(_podman.containers(), self.name)
            _podman.remove_containers([one.name for one in found.values()])
            _podman.remove_network(network_name(self.name))
            shutil.rmtree(self.folder, ignore_errors=True)


def _for_each(hosts: Iterable[str], act: Callable[[str], str]) -> list[str]:
    with ThreadPoolExecutor(4) as pool:
        return list(pool.map(act, hosts))


def _await_ssh(container: str, port: int) -> None:
    """Wait for sshd's greeting on the published port, as its user will."""
    deadline = time.monotonic() + BOOT_SECONDS
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1) as peer:
            if peer.recv(4) == b"SSH-":
                return
        time.sleep(0.05)
    raise FleetError(
        f"{container} runs, but its sshd does not answer on 127.0.0.1:{port}. "
        f"See `podman exec {container} journalctl -u ssh` and this machine's iptables."
    )


def clean() -> None:
    """Remove all that this program ever made on this machine."""
    if shutil.which("podman"):
        named = [one.name for one in _podman.containers() if one.name.startswith(PREFIX)]
        _podman.remove_containers(named)
        _podman.remove_networks_and_images(PREFIX, LABEL)
    _podman.remove_locks()
    shutil.rmtree(CACHE, ignore_errors=True)


def parse(args: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="fleet.py", description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("install", help="install what is missing on this machine (Debian, root)")
    up = verbs.add_parser(
        "up", help="make a fleet, or mend or change it: the options say all it has"
    )
    up.add_argument("name")
    up.add_argument("--app-hosts", type=int, default=2, metavar="N")
    up.add_argument("--data", action="store_true", help="with a host for PostgreSQL and Redis")
    up.add_argument("--lb", action="store_true", help="with HAProxy in front of the app hosts")
    up.add_argument("--release", default="bookworm", help="the Debian release to debootstrap")
    up.add_argument(
        "--image",
        default=os.environ.get("EVENKEEL_FLEET_IMAGE") or None,
        help="a Debian image to start from instead of debootstrap (or EVENKEEL_FLEET_IMAGE)",
    )
    for verb, does in (
        ("inventory", "write the inventory anew and print it"),
        ("status", "print one line a host"),
        ("down", "remove a fleet"),
    ):
        verbs.add_parser(verb, help=does).add_argument("name")
    verbs.add_parser("clean", help="remove every fleet, their images and their files")
    return parser.parse_args(args)


def act(options: argparse.Namespace) -> None:
    if options.verb == "install":
        _podman.install()
        return
    if options.verb == "clean":
        clean()
        return
    fleet = Fleet(options.name)
    _podman.check_installed()
    if options.verb == "up":
        shape = Shape(options.app_hosts, options.data, options.lb)
        fleet.up(shape, Images(options.release, options.image))
        print(fleet.hosts_file)
    elif options.verb == "inventory":
        print(fleet.write_inventory(), end="")
    elif options.verb == "status":
        print(fleet.status(), end="")
    elif options.verb == "down":
        fleet.down()


def main(args: Sequence[str] | None = None) -> int:
    options = parse(args)
    try:
        act(options)
    except (FleetError, OSError) as exc:
        print(f"fleet: {exc}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
