# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The main job, to watch: put storefront on bare hosts, release it anew under load, refuse a broken release.

It types what a user would type, in an inventory folder as a user would have it.
What it says at the end it took from the hosts and from the client, and from no plan.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "apps"))

from _images import Images  # noqa: E402
from _plan import HTTP_PORT, FleetError, Shape, container_name  # noqa: E402
from _podman import install, shell  # noqa: E402
from fleet import Fleet  # noqa: E402
from load import Load, Summary, affordable_rate  # noqa: E402
from materialize import materialize  # noqa: E402

FLEET = "demo"
ANSIBLE_CFG = """\
[defaults]
inventory = hosts.yml
collections_path = ../../collections
forks = 20
stdout_callback = evenkeel.flask.progress
[ssh_connection]
pipelining = true
ssh_args = -o ControlMaster=auto -o ControlPersist=60s -o ServerAliveInterval=10
"""
PATHS = ("/", "/health", "/api/products", "/products", "/static/shop.css")
# For all targets together: a demo is not a stress test of its machine.
REQUESTS_PER_SECOND = 60
GATE_LINE = re.compile(r"\s+((?:PASS|FAIL|SKIP|WARN|\?\?\?\?) .*|(?:NOT )?READY FOR PRODUCTION)")


class DemoError(Exception):
    """A result differs from the expected one; the message has the cause and the action."""


@dataclass(frozen=True)
class Stage:
    """A playbook that was run: when it began and ended, and where its output is."""

    playbook: str
    begun: float
    ended: float
    status: int
    log: Path

    @property
    def gate(self) -> list[str]:
        """Return the last verdict of the gate."""
        lines: list[str] = []
        for line in self.log.read_text(encoding="utf-8").splitlines():
            found = GATE_LINE.fullmatch(line)
            if found and lines and "READY" in lines[-1]:
                lines = []
            if found:
                lines.append(found[1])
        return lines


def say(text: str = "") -> None:
    print(text, flush=True)


def title(text: str) -> None:
    say(f"\n\033[1m== {text}\033[0m" if sys.stdout.isatty() else f"\n== {text}")


class Demo:
    """An inventory folder, the fleet it names, and the playbooks that are run on it."""

    def __init__(self, hosts: int, name: str = FLEET) -> None:
        self.fleet = Fleet(name)
        self.folder = self.fleet.folder
        self.hosts = hosts

    def make_fleet(self) -> None:
        self.fleet.down()
        self.fleet.up(Shape(self.hosts, data=True, lb=True), Images("bookworm", None))
        for part in ("fleet", "apps"):
            shutil.copytree(
                ROOT / "tests" / part / "group_vars", self.folder / "group_vars", dirs_exist_ok=True
            )
        (self.folder / "ansible.cfg").write_text(ANSIBLE_CFG, encoding="utf-8")

    def lay_out(self, version: str, on: str = "v1") -> None:
        materialize(version, self.folder / "storefront", on)

    def play(self, playbook: str, wanted: int = 0) -> Stage:
        log = self.folder / f"{time.strftime('%H%M%S')}-{playbook}.log"
        command = ["ansible-playbook", f"evenkeel.flask.{playbook}"]
        say(f"$ {' '.join(command)}")
        begun = time.time()
        environment = {
            name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")
        }
        environment["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        environment["ANSIBLE_FORCE_COLOR"] = str(int(sys.stdout.isatty()))
        with (
            log.open("w", encoding="utf-8") as lines,
            subprocess.Popen(
                command, cwd=self.folder, env=environment, text=True, stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            ) as process,
        ):  # fmt: skip
            assert process.stdout
            for line in process.stdout:
                print(f"  {line}", end="", flush=True)
                lines.write(re.sub(r"\x1b\[[0-9;]*m", "", line))
        if (process.returncode == 0) != (wanted == 0):
            raise DemoError(
                f"{playbook} ended with status {process.returncode}. Its output is in {log}; the fleet is as "
                f"it was left: cd {self.folder} and run it again, or `make demo` to begin anew."
            )
        return Stage(playbook, begun, time.time(), process.returncode, log)

    def url(self, host: str) -> str:
        return f"http://127.0.0.1:{self.fleet.seen()[host].ports[HTTP_PORT]}"

    def targets(self) -> dict[str, str]:
        return {host: self.url(host) for host in [*self.app_hosts(), "lb"]}

    def app_hosts(self) -> list[str]:
        return [f"app{number}" for number in range(1, self.hosts + 1)]

    def history(self) -> Iterator[tuple[str, str]]:
        """Describe the results of the users' requests on each host, from the host's own logs."""
        for host in self.app_hosts():
            lines = shell(
                container_name(self.fleet.name, host), "cat /srv/storefront/history.jsonl"
            )
            for switch in map(json.loads, lines.splitlines()):
                before = switch["previous"] or "nothing"
                yield (
                    switch["time"],
                    f"{host}: {before} -> {switch['release']} ({switch['action']})",
                )


def summarize(demo: Demo, v2: Stage, v3: Stage, summary: Summary) -> None:
    title("What happened")
    for moment, what in sorted(demo.history()):
        say(f"  {moment[11:19]}  {what}")
    refused = time.strftime("%H:%M:%S", time.gmtime(v3.ended))
    say(f"  {refused}  3.0.0 refused; every host stays on 2.0.0")
    say(
        f"  (UTC; releasing 2.0.0 took {v2.ended - v2.begun:.0f} s, refusing 3.0.0 {v3.ended - v3.begun:.0f} s)"
    )

    title("What the users saw while both were released")
    say(f"  {summary.sent} requests in {summary.seconds:.0f} s, {summary.failed} failed")
    for name, target in summary.targets.items():
        releases = ", ".join(
            f"{count} by {release}" for release, count in target["releases"].items()
        )
        say(
            f"  {name:<6} {releases}; median {target['p50_ms']:.0f} ms, slowest {target['max_ms']:.0f} ms"
        )

    title("What the gate said about 3.0.0")
    for line in v3.gate:
        say(f"  {line}")

    title("Where it is to be seen")
    say(f"  {demo.url('lb')} (user demo, password demo-password), and on each host:")
    for host in demo.app_hosts():
        say(f"  {demo.url(host)} ({host})")

    title("What to type next")
    bin_folder = os.path.relpath(Path(sys.executable).parent, demo.folder)
    say(f"  cd {os.path.relpath(demo.folder)} && export PATH=$PWD/{bin_folder}:$PATH")
    say("  ansible-playbook evenkeel.flask.status     # the fleet at a glance")
    say("  ansible-playbook evenkeel.flask.rollback   # back to the release before")
    say(
        "  $EDITOR storefront/storefront/templates/index.html && ansible-playbook evenkeel.flask.rollout"
    )
    say("  make clean                                 # in the project's folder: remove it all")


def run(hosts: int) -> None:
    begun = time.monotonic()
    demo = Demo(hosts)
    title(f"A fleet of bare hosts: {hosts} for the app, PostgreSQL and Redis, a load balancer")
    install()
    demo.make_fleet()

    title("storefront 1.0.0 on bare hosts")
    demo.lay_out("v1")
    demo.play("site")

    targets = demo.targets()
    rate = affordable_rate(targets, PATHS, REQUESTS_PER_SECOND / len(targets))
    load = Load(targets, rate, PATHS, demo.folder / "requests.jsonl")
    load.start()
    title("storefront 2.0.0, with a migration, while users ask for pages")
    demo.lay_out("v2")
    v2 = demo.play("rollout")
    title("storefront 3.0.0, whose main page answers 500")
    demo.lay_out("broken-500", on="v2")
    v3 = demo.play("rollout", wanted=2)
    summary = load.stop()

    summarize(demo, v2, v3, summary)
    say(f"\n{time.monotonic() - begun:.0f} s in all.")
    if summary.failed:
        for failure in summary.first_failures:
            say(f"  {failure}")
        raise DemoError(
            f"{summary.failed} of {summary.sent} requests failed; each is in {demo.folder}/requests.jsonl. "
            "Please report it with that file."
        )


def main(args: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="demo.py", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--hosts", type=int, default=2, help="how many app hosts (2)")
    options = parser.parse_args(args)
    try:
        run(options.hosts)
    except (DemoError, FleetError, OSError) as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
