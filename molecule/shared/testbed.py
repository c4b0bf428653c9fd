# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The tools of the tests: the fleet of a scenario, its playbooks, and users that send requests.

Hosts are accessed by podman and not by SSH. So a test can read their state while sshd or the
network of a host is down.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any, Callable
from urllib.parse import urlencode, urlsplit

import testinfra  # type: ignore[import-untyped]
import yaml

sys.path.append(str(Path(__file__).resolve().parents[2] / "tests" / "fleet"))

import _podman
import load
from ansible_collections.evenkeel.flask.plugins.module_utils._release import slots as release_slots
from ansible_collections.evenkeel.flask.tests.apps import materialize

# Seconds. A run of two hosts was seen to take over a minute to the switch, on a machine that was three times slower than usual.
PATIENCE = 180
# The gate and the bake have their own tests, and take most of the time of a rollout.
CHECKS = ["main_page", "api", "upload", "response_times", "concurrency", "session", "errors"]
QUICK = {
    "rollout_bake_seconds": 0,
    "rollout_checks": {name: {"enabled": False} for name in CHECKS},
}


def wait_until(true: Callable[[], object], what: str) -> None:
    """Poll until the condition is true. A condition that takes this long does not become true."""
    deadline = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < deadline, f"Waited in vain until {what}."
        time.sleep(0.1)


@dataclass(frozen=True)
class Answer:
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def release(self) -> str | None:
        return self.headers["X-Release"]

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Host:
    """An app host from within; C(see) is testinfra's view of it."""

    def __init__(self, container: str, app: str) -> None:
        self.container = container
        self.app = app
        self.see: Any = testinfra.get_host(f"podman://{container}")

    @property
    def live_slot(self) -> str:
        return PurePosixPath(self.see.file(f"/srv/{self.app}/live.sock").linked_to).stem

    @property
    def slots(self) -> dict[str, str]:
        """The release that was started last in each slot that was ever used."""
        found = self.see.check_output(f"find /srv/{self.app}/slots -type l -printf '%f %l\\n'")
        return {slot: PurePosixPath(path).name for slot, path in map(str.split, found.splitlines())}

    @property
    def live_folder(self) -> str:
        return f"/srv/{self.app}/releases/{self.slots[self.live_slot]}"

    @property
    def running(self) -> set[str]:
        """The units of slots that are active: a service and its socket for each."""
        listed = self.see.check_output(
            f"systemctl list-units --state=active --plain --no-legend '{self.app}@*'"
        )
        return {line.split()[0] for line in listed.splitlines()}

    @property
    def runs_the_live_slot_alone(self) -> bool:
        slot = f"{self.app}@{self.live_slot}"
        return self.running == {f"{slot}.service", f"{slot}.socket"}

    def connections(self, slot: str) -> int:
        """How many requests a slot is at."""
        table = self.see.file("/proc/net/unix").content_string
        return release_slots.open_connections(table, f"/run/{self.app}/{slot}.sock")

    @property
    def history(self) -> list[dict[str, str | None]]:
        lines = self.see.file(f"/srv/{self.app}/history.jsonl").content_string.splitlines()
        return [json.loads(line) for line in lines]

    def wait_in(self, process: subprocess.Popen[str], until: str, then: str = "") -> bool:
        """Wait in a run until a shell's condition is true on the host; whether that came before the run's end.

        @param then: what the shell does in the same moment
        """
        script = f"until {until}; do sleep 0.02; done; {then}"
        waiting = subprocess.Popen(
            ["podman", "exec", self.container, "timeout", "600", "sh", "-c", script]
        )
        while waiting.poll() is None and process.poll() is None:
            time.sleep(0.02)
        waiting.kill()
        return waiting.wait() == 0

    def put(self, path: Path, folder: str) -> None:
        """Copy a file of the tests into a folder of the host."""
        _podman.podman("cp", str(path), f"{self.container}:{folder}/")

    def in_its(self, kinds: str, *command: str) -> None:
        """Run a command of this machine in namespaces of the host (C(_podman.in_its))."""
        _podman.in_its(self.container, kinds, *command)

    def restart(self) -> None:
        """A power cut, and power again."""
        _podman.podman("restart", "-t", "0", self.container)


class Users:
    """Users of every address of a fleet, for as long as a C(with) lasts; then C(summary) is there."""

    summary: load.Summary

    def __init__(self, urls: Mapping[str, str], paths: Sequence[str], rate: float) -> None:
        self._load = load.Load(urls, rate, paths)

    def __enter__(self) -> Users:
        self._load.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self.summary = self._load.stop()
        print(json.dumps(asdict(self.summary), indent=2))


@dataclass(frozen=True)
class Play:
    """The result of a playbook, and of the users' requests during it, if there were any."""

    status: int
    said: str
    users: load.Summary | None = None

    @property
    def changed(self) -> int:
        counts = re.findall(r" changed=(\d+)", self.said)
        assert counts, "The playbook ended without a recap."
        return sum(map(int, counts))


class Fleet:
    """A scenario's fleet, as the team that deploys an app and the users of the app see it."""

    def __init__(self, name: str, app: str) -> None:
        self.folder = _podman.CACHE / name
        inventory = yaml.safe_load(self.folder.joinpath("hosts.yml").read_text(encoding="utf-8"))
        known: dict[str, dict[str, Any]] = inventory["all"]["hosts"]
        self.urls = {
            host: f"http://127.0.0.1:{variables['fleet_http_port']}"
            for host, variables in known.items()
            if "fleet_http_port" in variables
        }
        every = {host: Host(variables["fleet_container"], app) for host, variables in known.items()}
        self.hosts = {host: every[host] for host in inventory["all"]["children"]["app"]["hosts"]}
        self.props = {host: every[host] for host in every if host not in self.hosts}

    @property
    def secrets(self) -> dict[str, str]:
        text = self.folder.joinpath("secrets.json").read_text(encoding="utf-8")
        found: dict[str, str] = json.loads(text)
        return found

    def ask(
        self,
        host: str,
        path: str = "/health",
        headers: Mapping[str, str] | None = None,
        form: Mapping[str, str] | None = None,
    ) -> Answer:
        """Ask for a path, or post a form to it; no redirect is followed.

        @raises OSError: when there is no answer
        """
        sent = dict(headers or {})
        if form:
            sent["Content-Type"] = "application/x-www-form-urlencoded"
        connection = http.client.HTTPConnection(urlsplit(self.urls[host]).netloc, timeout=PATIENCE)
        try:
            connection.request("POST" if form else "GET", path, urlencode(form or {}), sent)
            answer = connection.getresponse()
            return Answer(answer.status, answer.headers, answer.read())
        except http.client.HTTPException as error:
            raise OSError(f"no HTTP answer: {error!r}") from error
        finally:
            connection.close()

    def serves(self, host: str) -> bool:
        try:
            return self.ask(host).status == 200
        except OSError:
            return False

    def releases(self) -> set[str | None]:
        """Return the releases at the addresses of the fleet; two during a rollout."""
        return {self.ask(host).release for host in self.urls}

    def wrong(self, before: set[str | None]) -> str | None:
        """Return the problem of a fleet during a rollout, or None.

        Each host must serve its earlier release or the one new release, and the status must show which.
        """
        for host in self.urls:
            wait_until(lambda host=host: self.serves(host), f"{host} serves")  # type: ignore[misc]
        if len(self.releases() - before) > 1:
            return f"{self.releases()} answer"
        output = self.play("status").said
        for host in self.hosts:
            release = self.ask(host).release or ""
            if not re.search(rf"{host} +{re.escape(release)} +(blue|green) .* yes", output):
                return f"the status of {host} is not that it serves {release}"
        return None

    def unfinished(self, before: set[str | None]) -> str | None:
        """Return the problem after a rollout: all hosts must serve, run and record only the new release."""
        after = self.releases()
        if len(after) != 1 or after & before:
            return f"{after} answer"
        for name, host in self.hosts.items():
            if not host.runs_the_live_slot_alone:
                return f"{name} runs {host.running}"
            if host.history[-1]["release"] not in after:
                return f"the history of {name} does not know of {after}"
        return None

    def users(self, *paths: str, rate: float | None = None) -> Users:
        """Users of each address, C(rate) requests a second: by default 15, or what this machine can carry."""
        paths = paths or ("/", "/health", "/api/products")
        return Users(self.urls, paths, rate or load.affordable_rate(self.urls, paths, 15))

    def lay_out(self, version: str, on: str = "v1") -> None:
        """Make a version of the sample app the one that is deployed next."""
        materialize.materialize(version, self.folder / "storefront", on)

    def lay_out_another(self) -> None:
        """A release that works, and that no host has seen."""
        self.lay_out("v1")
        (self.folder / "storefront" / "NOTES").write_text(uuid.uuid4().hex, encoding="utf-8")

    def start(
        self, playbook: str, *args: str, environment: Mapping[str, str] | None = None
    ) -> subprocess.Popen[str]:
        inventory = str(self.folder / "hosts.yml")
        return subprocess.Popen(
            ["ansible-playbook", "-i", inventory, f"evenkeel.flask.{playbook}", *args],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            # Molecule forces colours, which would break the search for words.
            env={
                **os.environ,
                "ANSIBLE_FORCE_COLOR": "0",
                "ANSIBLE_NOCOLOR": "1",
                **(environment or {}),
            },
        )

    def play(self, playbook: str, *args: str) -> Play:
        process = self.start(playbook, *args)
        output, _none = process.communicate()
        print(output)
        return Play(process.returncode, output)

    def play_under_load(self, playbook: str, *args: str) -> Play:
        with self.users() as users:
            play = self.play(playbook, *args)
        return replace(play, users=users.summary)

    def cut_off(self, playbook: str, when: Callable[[], object], what: str, *args: str) -> None:
        """Start a playbook, and kill it with all its children at a moment of one's choice."""
        process = self.start(playbook, *args)
        try:
            wait_until(when, what)
            assert process.poll() is None, f"The playbook was through before {what}."
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
