# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make a fleet on which storefront 1.0.0 is live already.

The first call runs `site` on bare hosts and keeps each host as an image. Later calls start from the
images, until a file changes on which they depend. A fleet has two app hosts, PostgreSQL, Redis and HAProxy.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import hashlib
import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Sequence
from pathlib import Path

from _images import LABEL, Images
from _plan import PREFIX, FleetError, Shape, container_name
from _podman import image_labels, locked, podman, say
from demo import ROOT, Demo, DemoError
from fleet import Fleet

NAME = "deployed"
SHAPE = Shape(2, data=True, lb=True)
# The passwords are in files of the hosts, so a fleet from the images has the same. They protect nothing.
SECRETS = "evenkeel.secrets"
# A run of site depends on the content of these.
SOURCES = ("plugins", "roles", "playbooks", "meta", "galaxy.yml", "tests/apps", "tests/fleet")
PATIENCE = 180


class Deployed(Images):
    """One image for each host of a fleet after `site`."""

    def __init__(self) -> None:
        super().__init__("bookworm", os.environ.get("EVENKEEL_FLEET_IMAGE") or None)
        content = _content(ROOT)
        self.key = hashlib.sha256(
            (content + self._recipe("data") + self._recipe("lb")).encode()
        ).hexdigest()[:12]

    def of(self, host: str) -> str:
        return f"localhost/{PREFIX}{NAME}-{host}:{self.key}"

    def secrets(self) -> dict[str, str] | None:
        """The fleet's secrets; None if an image is missing."""
        labels = image_labels()
        if not all(self.of(host) in labels for host in SHAPE.hosts):
            return None
        known: dict[str, str] = json.loads(base64.b64decode(labels[self.of("data")][SECRETS]))
        return known

    def make(self) -> None:
        """Run site on bare hosts, and save the hosts as images."""
        self._forget_others()
        demo = Demo(SHAPE.app_hosts, NAME)
        demo.make_fleet()
        try:
            demo.lay_out("v1")
            demo.play("site")
            names = {host: container_name(NAME, host) for host in SHAPE.hosts}
            # Stopped, so that no file is half written.
            podman("stop", "-t", "60", *names.values())
            secrets = base64.b64encode((demo.folder / "secrets.json").read_bytes()).decode()
            for host, name in names.items():
                say(f"keeping {name} as {self.of(host)}")
                labels = {LABEL: self.key, **({SECRETS: secrets} if host == "data" else {})}
                changes = [f"--change=LABEL {label}={value}" for label, value in labels.items()]
                podman(
                    "commit", "-q", *changes, "--change", 'CMD ["/sbin/init"]', name, self.of(host)
                )
        finally:
            demo.fleet.down()

    def _forget_others(self) -> None:
        for image in image_labels():
            if image.startswith(f"localhost/{PREFIX}{NAME}-"):
                with contextlib.suppress(FleetError):  # A container needs it.
                    podman("rmi", image)


def _content(root: Path) -> str:
    """A digest of the files of this work tree on which a run of site depends."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *SOURCES],
        cwd=root, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    digest = hashlib.sha256()
    for name in sorted(filter(None, listed.split("\0"))):
        if (root / name).is_file():
            digest.update(
                f"{name}\0".encode() + hashlib.sha256((root / name).read_bytes()).digest()
            )
    return digest.hexdigest()


def up(name: str) -> Fleet:
    """Make a fleet from the images, which are made if need be.

    @raises FleetError: if a host does not serve within three minutes
    """
    fleet = Fleet(name)
    images = Deployed()
    with locked(NAME):
        secrets = images.secrets()
        if secrets is None:
            images.make()
            secrets = images.secrets()
        assert secrets is not None
        fleet.down()
        fleet.folder.mkdir(parents=True)
        fleet.write_secrets(secrets)
        fleet.up(SHAPE, images)
    _await_service(fleet)
    return fleet


def _await_service(fleet: Fleet) -> None:
    deadline = time.monotonic() + PATIENCE
    demo = Demo(SHAPE.app_hosts, fleet.name)
    waiting = {host: f"{url}/health" for host, url in demo.targets().items()}
    while waiting:
        waiting = {host: url for host, url in waiting.items() if not _serves(url)}
        if waiting and time.monotonic() > deadline:
            raise FleetError(
                f"{', '.join(waiting)} did not serve within {PATIENCE} s after the start from an image."
            )
        time.sleep(0.2)


def _serves(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return int(answer.status) == 200
    except OSError:
        return False


def main(args: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="deployed.py", description=__doc__)
    parser.add_argument("name")
    try:
        print(up(parser.parse_args(args).name).hosts_file)
    except (DemoError, FleetError, OSError) as exc:
        print(f"deployed: {exc}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
