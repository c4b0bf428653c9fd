# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one place that acts on this machine: packages, locks, and podman."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import resource
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from _plan import PREFIX, FleetError, Seen, engine_settings

CACHE = Path(__file__).resolve().parents[2] / ".cache" / "fleet"

# An empty file selects the machine's own settings of podman.
SETTINGS = CACHE / "containers.conf"

NEEDED = {
    "podman": "podman",
    "runc": "runc",
    "newuidmap": "uidmap",
    "iptables": "iptables",
    "debootstrap": "debootstrap",
    "ssh": "openssh-client",
    "ssh-keygen": "openssh-client",
    "/usr/share/keyrings/debian-archive-keyring.gpg": "debian-archive-keyring",
}
SBIN = "/usr/local/sbin:/usr/sbin:/sbin"


def say(text: str) -> None:
    print(f"fleet: {text}", file=sys.stderr, flush=True)


def run(*command: str, text: str | None = None) -> str:
    """Run a command and return its output.

    @raises FleetError: with the last line of its output
    """
    env = {**os.environ, "LC_ALL": "C.UTF-8", "PATH": f"{os.environ.get('PATH', '')}:{SBIN}"}
    if SETTINGS.exists() and SETTINGS.stat().st_size:
        env["CONTAINERS_CONF"] = str(SETTINGS)
    try:
        done = subprocess.run(
            command, input=text, capture_output=True, text=True, env=env, check=False
        )
    except FileNotFoundError as exc:
        raise FleetError(f"{command[0]} is missing: run `fleet.py install` as root.") from exc
    if done.returncode != 0:
        lines = (done.stderr or done.stdout).strip().splitlines() or [f"exit {done.returncode}"]
        raise FleetError(f"`{' '.join(command[:3])} …` failed: {lines[-1]}")
    return done.stdout


def podman(*args: str, text: str | None = None) -> str:
    return run("podman", *args, text=text)


def shell(container: str, script: str) -> str:
    """Run a script inside a container.

    It goes in by standard input: what is secret in it stays out of the process list.
    """
    return podman("exec", "-i", container, "/bin/sh", "-eu", text=script)


def missing_packages() -> list[str]:
    path = f"{os.environ.get('PATH', '')}:{SBIN}"
    return sorted(
        {package for tool, package in NEEDED.items() if not shutil.which(tool, os.F_OK, path)}
    )


def install() -> None:
    """Install what is missing on this machine, and only that."""
    missing = missing_packages()
    if not missing:
        return
    if not shutil.which("apt-get"):
        raise FleetError(
            f"There is no apt-get here: install {' '.join(missing)} in your system's way."
        )
    if os.geteuid() != 0:
        raise FleetError(f"Only root can install {' '.join(missing)}: run this with sudo.")
    say(f"installing {' '.join(missing)}")
    os.environ["DEBIAN_FRONTEND"] = "noninteractive"
    run("apt-get", "update", "-q")
    # With what they recommend: podman's network tools are among it on newer Debian.
    run("apt-get", "install", "-q", "-y", *missing)


def check_installed() -> None:
    missing = missing_packages()
    if missing:
        raise FleetError(
            f"Missing here: {' '.join(missing)}. Run `fleet.py install` as root first."
        )


def _lock_path(name: str) -> Path:
    folder = Path("/run/lock")
    # Per user, as podman's containers and images are.
    return (folder if folder.is_dir() else Path(tempfile.gettempdir())) / (
        f"{PREFIX}fleet-{os.getuid()}-{name.replace('/', '_')}"
    )


@contextlib.contextmanager
def locked(name: str) -> Iterator[None]:
    """Let one process on this machine at a time use the resource C(name)."""
    with open(_lock_path(name), "w", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"waiting for another run that holds {name}")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def choose_settings(image: str) -> None:
    """Find out, once, whether podman's own settings work on this machine."""
    with locked("settings"):
        if SETTINGS.exists():
            return
        CACHE.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FleetError):
            _try_container(image)
            SETTINGS.touch()
            return
        limits = (
            resource.getrlimit(what)[1] for what in (resource.RLIMIT_NOFILE, resource.RLIMIT_NPROC)
        )
        files, processes = (sys.maxsize if limit < 0 else limit for limit in limits)
        SETTINGS.write_text(engine_settings(files, processes), encoding="utf-8")
        try:
            _try_container(image)
        except FleetError as exc:
            SETTINGS.unlink()
            raise FleetError(
                f"podman cannot run a container here, also not with runc: {exc}"
            ) from exc
        say(f"podman's own settings do not work here; taking those in {SETTINGS}")


def _try_container(image: str) -> None:
    podman("run", "--rm", "--systemd=always", "--network=none", image, "/bin/true")


def containers() -> list[Seen]:
    return [
        Seen.from_podman(one) for one in json.loads(podman("ps", "-a", "--format", "json") or "[]")
    ]


def image_labels() -> dict[str, Mapping[str, str]]:
    """The labels of every image on this machine, by name."""
    listed = json.loads(podman("images", "--format", "json") or "[]")
    return {name: one.get("Labels") or {} for one in listed for name in one.get("Names") or ()}


def network_subnet(name: str) -> str:
    """The subnet of a network, which is made if there is none."""
    with locked("networks"):
        if name not in networks():
            podman("network", "create", "--disable-dns", name)
        shown: list[dict[str, Any]] = json.loads(podman("network", "inspect", name))
    return str(shown[0]["subnets"][0]["subnet"])


def in_its(container: str, kinds: str, *command: str) -> str:
    """Run a command of this machine in namespaces of a container, with more permissions than a process in it.

    @param kinds: options of nsenter(1)
    """
    pid = podman("inspect", "-f", "{{.State.Pid}}", container).strip()
    return run("nsenter", "-t", pid, *kinds.split(), *command)


def remove_containers(names: Sequence[str]) -> None:
    if names:
        podman("rm", "-f", "-t", "0", *names)


def bindable(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def remove_network(name: str) -> None:
    if name in networks():
        podman("network", "rm", name)


def networks() -> list[str]:
    return podman("network", "ls", "--format", "{{.Name}}").split()


def remove_networks_and_images(prefix: str, label: str) -> None:
    for name in networks():
        if name.startswith(prefix):
            podman("network", "rm", name)
    # Images that a newer one of their name has replaced are known by their label alone.
    ours = [name for name in image_labels() if name.startswith(f"localhost/{prefix}")]
    ours += podman(
        "images", "-q", "--filter", "dangling=true", "--filter", f"label={label}"
    ).split()
    if ours:
        podman("rmi", "-f", *ours)


def remove_locks() -> None:
    for path in _lock_path("").parent.glob(f"{_lock_path('').name}*"):
        path.unlink()
