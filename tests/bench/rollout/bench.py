# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How long does a release of 2, 8 and 20 hosts take, and what do users notice? make bench-rollout.

The same app goes to the same hosts by other ways that people have, and by ours, in
turn, over SSH. Everything that is done before the clock starts is in hosts/prepare.yml
and in Bench.lay_out.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parents[1] / "fleet"), str(HERE.parent)]

import page  # noqa: E402
from _images import Images  # noqa: E402
from _plan import SSH_PORT, Shape, container_name  # noqa: E402
from _podman import install, shell  # noqa: E402
from demo import Demo  # noqa: E402
from load import Load  # noqa: E402
from materialize import materialize  # noqa: E402
from rollout._figures import (  # noqa: E402
    Goal,
    Run,
    Window,
    Wire,
    bars,
    by_task,
    operations_per_host,
    tasks_per_host,
    windows,
)
from rollout._tools import BACK, CACHE, DRAINED, OURS, PIPELINED, PLAIN, Tool, ansistrano, pyinfra  # noqa: E402

FLEET = "bench-rollout"
WORKERS = 2
GUNICORN = "gunicorn>=22"
SETTINGS = f"""
# The bench's: both slots of 20 hosts shall find room in one database, and the rivals take as many.
gunicorn_workers: {WORKERS}
shop_gunicorn: {GUNICORN}
"""
# A rollout that has to take back what seven hosts have, because the eighth refuses.
REFUSAL = {"rollout_on_failure": "rollback_all", "rollout_batches": [7, 1]}
WANTS = 'rollout_checks: {main_page: {contains: "Nothing of the kind"}}\n'
FRONTS = """\
cd /etc/nginx
rm -f conf.d/shop.conf
if [ -e conf.d/storefront.conf ]; then mv conf.d/storefront.conf storefront.conf; fi
{how}
systemctl reload nginx
"""
FRONT = {
    "shop": "cp shop.conf conf.d/shop.conf",
    "storefront": "mv storefront.conf conf.d/storefront.conf",
}
SPOKEN = """\
journalctl --sync
cat /proc/net/dev
journalctl -t sshd -o cat --since=@{since:.6f} || true
"""
SWITCHED = "stat -c %.9Y /srv/storefront/live.sock"
QUIET_SECONDS = 15
TRIES = 3
# With this many hosts, one by one, each is measured once; only the two in the comparison are rerun.
MANY = 10
# Cheap pages: the machine must work on the release, and not on its users.
PATHS = ("/health", "/login", "/api/categories", "/static/shop.css")


class Bench:
    """A fleet that grows, and what was seen on it."""

    def __init__(self, rate: float) -> None:
        self.demo = Demo(hosts=0, name=FLEET)
        self.folder = self.demo.folder
        self.rate = rate
        self.releases = 0
        self.number = ""
        self.count = 0
        self.noise = 0.0
        self.runs: list[Run] = []
        self.traffic: dict[str, dict[str, Window]] = {}
        self.refused: Counter[str] = Counter()
        self.broken: dict[str, tuple[int, int]] = {}
        self.rollback: Run | None = None
        self.taken_back: list[float] = []
        self.logs = CACHE / "rollout"
        shutil.rmtree(self.logs, ignore_errors=True)
        self.logs.mkdir(parents=True)

    # The hosts, and what is on them

    def each_host(self, act: Callable[[str], Any]) -> dict[str, Any]:
        hosts = self.demo.app_hosts()
        with ThreadPoolExecutor(4) as pool:
            return dict(zip(hosts, pool.map(act, hosts)))

    def on_each_host(self, script: str) -> dict[str, str]:
        return self.each_host(lambda host: shell(container_name(FLEET, host), script))

    def grow(self, hosts: int) -> None:
        """Create this number of hosts, each ready for every tool."""
        if self.demo.hosts:
            self.front("storefront")
            self.demo.hosts = hosts
            self.demo.fleet.up(Shape(hosts, data=True, lb=True), Images("bookworm", None))
        else:
            self.demo.hosts = hosts
            self.demo.make_fleet()
            with (self.folder / "group_vars" / "all.yml").open("a", encoding="utf-8") as settings:
                settings.write(SETTINGS)
        self.lay_out()
        self.wheels()
        self.demo.play("site")
        self.play(HERE / "hosts" / "prepare.yml")
        self.play(HERE / "plain" / "site.yml", "-e", "shop_serial=100%")
        self.pyinfra_inventory().write_text(
            f"app = {[*self.pyinfra_hosts()]!r}\n", encoding="utf-8"
        )
        self.noise = self.chatter()

    def play(self, playbook: Path, *args: str) -> None:
        log = self.logs / f"{playbook.parent.name}-{playbook.stem}.log"
        command = ("ansible-playbook", str(playbook), *args)
        if self.spawn(command, {"ANSIBLE_STDOUT_CALLBACK": "ansible.builtin.default"}, log) != 0:
            raise SystemExit(f"bench: {playbook.name} failed; see {log}")

    def wheels(self) -> None:
        """The packages that pip finds on the hosts, downloaded once."""
        wheels, archive = self.folder / "wheels", self.folder / "wheels.tar"
        if archive.exists():
            return
        requirements = self.folder / "storefront" / "requirements.txt"
        subprocess.run(
            [sys.executable, "-m", "pip", "download", "-qq", "--only-binary=:all:", "-d", wheels,
             "-r", requirements, GUNICORN],
            check=True, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        shutil.make_archive(str(wheels), "tar", wheels)

    def pyinfra_inventory(self) -> Path:
        return self.folder / "pyinfra_inventory.py"

    def pyinfra_hosts(self) -> Iterator[tuple[str, dict[str, object]]]:
        seen = self.demo.fleet.seen()
        for host in self.demo.app_hosts():
            yield (
                host,
                {
                    "ssh_hostname": "127.0.0.1",
                    "ssh_port": seen[host].ports[SSH_PORT],
                    "ssh_user": "deploy",
                    "ssh_key": str(self.demo.fleet.key),
                    "ssh_known_hosts_file": str(self.demo.fleet.known_hosts),
                    "ssh_strict_host_key_checking": "yes",
                    "gunicorn_workers": WORKERS,
                    "archive": str(self.folder / "shop.tar.gz"),
                },
            )

    def lay_out(self, version: str = "v2", on: str = "v1") -> None:
        """A release that no host has had: another number, and that in a file that counts."""
        self.releases += 1
        self.number = f"9.0.{self.releases}"
        folder = materialize(version, self.folder / "storefront", on)
        with (folder / "storefront" / "__init__.py").open("a", encoding="utf-8") as lines:
            lines.write(f'__version__ = "{self.number}"\n')
        shutil.make_archive(str(self.folder / "shop"), "gztar", folder)

    def front(self, name: str) -> None:
        self.on_each_host(FRONTS.format(how=FRONT[name]))

    def ask(self, path: str) -> dict[str, tuple[int, bytes]]:
        """Return the direct response of each host."""
        # One listing for all: podman takes longer than an answer.
        targets = self.demo.targets()

        def one(host: str) -> tuple[int, bytes]:
            try:
                with urllib.request.urlopen(f"{targets[host]}{path}", timeout=10) as answer:
                    return answer.status, answer.read()
            except urllib.error.HTTPError as error:
                return error.code, b""

        return self.each_host(one)

    # One tool

    def spawn(self, command: Sequence[str], settings: dict[str, str], log: Path) -> int:
        environment = {k: v for k, v in os.environ.items() if not k.startswith("ANSIBLE_")}
        environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
        with log.open("w", encoding="utf-8") as output:
            return subprocess.run(
                command,
                cwd=self.folder,
                env={**environment, **settings},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                check=False,
            ).returncode

    def run(self, tool: Tool, job: str, *args: str) -> Run:
        """Run it over its own connections; return its result, and that of each task."""
        self.count += 1
        name = self.logs / f"{self.count:03}-{self.demo.hosts}-{tool.name}-{job}"
        log, timings = name.with_suffix(".log"), name.with_suffix(".jsonl")
        before = self.wire(time.time())
        # A socket's path may not be long.
        with tempfile.TemporaryDirectory(prefix="ek-", dir="/tmp") as control:
            settings = {
                **tool.environment,
                "ANSIBLE_CALLBACK_PLUGINS": str(HERE / "callbacks"),
                "ANSIBLE_CALLBACKS_ENABLED": "timings",
                "ANSIBLE_SSH_CONTROL_PATH_DIR": control,
                "TIMINGS": str(timings),
            }
            begun = time.time()
            status = self.spawn((*tool.command, *args), settings, log)
            ended = time.time()
            for socket in Path(control).iterdir():
                subprocess.run(
                    ["ssh", "-O", "exit", "-o", f"ControlPath={socket}", "host"],
                    capture_output=True,
                    check=False,
                )
        after = self.wire(begun)
        lines = timings.read_text(encoding="utf-8").splitlines() if timings.exists() else []
        records = [*map(json.loads, lines)]
        run = Run(
            tool.name, self.demo.hosts, job, self.number, begun, ended, status, records,
            tasks_per_host(records) or operations_per_host(log.read_text(encoding="utf-8"), self.demo.hosts),
            after.commands,
            round(after.bytes - before.bytes - self.noise * (ended - begun)),
        )  # fmt: skip
        say(
            f"{run.hosts} hosts, {tool.name}, {job}: {run.seconds:.1f} s, status {status}, "
            f"{run.tasks} tasks, {run.commands} commands and {run.bytes / 1000:.0f} kB a host"
        )
        return run

    def wire(self, since: float) -> Wire:
        """Return the median traffic to a host."""
        deltas = [
            Wire.read(spoken) for spoken in self.on_each_host(SPOKEN.format(since=since)).values()
        ]
        return Wire(
            round(statistics.median(one.bytes for one in deltas)),
            round(statistics.median(one.commands for one in deltas)),
        )

    def chatter(self) -> float:
        """Return the bytes per second of an idle host: the balancer's checks and their responses."""
        begun, before = time.monotonic(), self.wire(time.time())
        time.sleep(QUIET_SECONDS)
        return (self.wire(time.time()).bytes - before.bytes) / (time.monotonic() - begun)

    def update(self, tool: Tool) -> Run:
        """Release again, and verify the responses of the hosts.

        On a busy machine a gate can be inconclusive about response times. Such a run is counted and
        repeated.
        """
        for _try in range(TRIES):
            self.lay_out()
            run = self.run(tool, "update")
            if run.status == 0:
                self.demand(run.number)
                return run
            self.refused[tool.name] += 1
        raise SystemExit(
            f"bench: {tool.name} failed {TRIES} times; what it said is in {self.logs}."
        )

    def demand(self, number: str) -> None:
        answers = self.ask("/health")
        if any(f'"{number}"'.encode() not in body for _status, body in answers.values()):
            raise SystemExit(
                f"bench: {number} is not live everywhere: {answers}. What was done is in {self.logs}."
            )

    # Measurements

    def time_all(self, tools: Sequence[Tool], turns: int) -> None:
        for turn in range(turns):
            for tool in tools:
                self.front(tool.front)
                run = self.update(tool)
                self.runs.append(run)
                if tool is OURS:
                    say_by_task(by_task(run.records, run.begun))
                if turn == 0 and (self.demo.hosts < MANY or tool in (PLAIN, OURS)):
                    self.runs.append(self.run(tool, "rerun"))

    def ask_while(self, tool: Tool, requests: int = 0) -> None:
        """Release under load, over and over until that many requests were sent."""
        self.front(tool.front)
        targets = self.demo.targets()
        lines = self.logs / f"requests-{tool.name}.jsonl"
        load = Load(targets, self.rate / len(targets), PATHS, lines)
        load.start()
        time.sleep(QUIET_SECONDS)
        begun = time.time()
        while True:
            ended = self.update(tool).ended
            if (ended - begun) * self.rate >= requests:
                break
        summary = load.stop()
        with lines.open(encoding="utf-8") as answers:
            self.traffic[tool.name] = windows(answers, begun, ended)
        say(
            f"{tool.name}: {summary.failed} of {summary.sent} lost, client {summary.behind_ms} ms late"
        )

    def break_all(self, tools: Sequence[Tool]) -> None:
        """Release what answers 500 on its main page alone."""
        for tool in tools:
            self.front(tool.front)
            self.lay_out("broken-500", on="v2")
            status = self.run(tool, "broken").status
            hosts = sum(status >= 500 for status, _said in self.ask("/").values())
            self.broken[tool.name] = hosts, status
            say(f"{tool.name}: {hosts} hosts broken, status {status}")

    def go_back(self) -> None:
        self.front(OURS.front)
        # Two, so that all hosts go back to the same.
        before = self.update(OURS)
        self.update(OURS)
        self.rollback = self.run(BACK, "back")
        self.demand(before.number)
        live = self.update(OURS)
        # Seven hosts have it when the eighth refuses.
        own = self.folder / "host_vars"
        own.mkdir()
        (own / f"app{self.demo.hosts}.yml").write_text(WANTS, encoding="utf-8")
        self.lay_out()
        records = self.run(OURS, "refused", "-e", json.dumps(REFUSAL)).records
        shutil.rmtree(own)
        self.demand(live.number)
        verdict = min(one["ended"] for one in records if one["outcome"] == "failed")
        switched = self.on_each_host(SWITCHED)
        self.taken_back = sorted(float(at) - verdict for at in switched.values())[1:]
        say(
            f"back after the verdict: {' '.join(f'{seconds:.2f}' for seconds in self.taken_back)} s"
        )


def say(text: str) -> None:
    print(f"bench: {text}", flush=True)


def say_by_task(spent: Sequence[tuple[float, int, str]]) -> None:
    for seconds, turns, task in spent:
        print(f"  {seconds:6.2f} s  in {turns} turns  {task}", flush=True)


# Reports


class Report:
    def __init__(self, bench: Bench, tools: Sequence[Tool], sizes: Sequence[int]) -> None:
        self.bench = bench
        self.tools = tools
        self.sizes = sizes

    def runs(self, tool: str, hosts: int, job: str) -> list[Run]:
        wanted = (tool, hosts, job)
        return [run for run in self.bench.runs if (run.tool, run.hosts, run.job) == wanted]

    def median(self, tool: str, hosts: int, job: str) -> float | None:
        took = [run.seconds for run in self.runs(tool, hosts, job)]
        return statistics.median(took) if took else None

    def ratio(self, one: tuple[str, int, str], other: tuple[str, int, str]) -> float | None:
        above, below = self.median(*one), self.median(*other)
        return above / below if above and below else None

    def lines(self) -> list[str]:
        return [
            *self.head(),
            *self.seconds(),
            *self.chart(),
            *self.wire(),
            *self.users(),
            *self.breakage(),
            *self.goals(),
        ]

    def head(self) -> list[str]:
        had = {tool.name for tool in self.tools}
        absent = [name for name in ("pyinfra", "ansistrano") if name not in had]
        return [
            *page.table(["tool", "what it is"], [[tool.name, tool.what] for tool in self.tools]),
            *(f"\n{name} was not to be had here." for name in absent),
            *(
                f"\n{count} releases by {name} failed, though there was nothing wrong with them, and were made again."
                for name, count in self.bench.refused.items()
            ),
            "",
        ]

    def seconds(self) -> list[str]:
        def cell(tool: str, hosts: int, job: str) -> str:
            took = self.median(tool, hosts, job)
            times = self.ratio((tool, hosts, job), (OURS.name, hosts, job))
            return f"{took:.1f} ({times:.1f})" if took and times else ""

        jobs = [(job, hosts) for job in ("update", "rerun") for hosts in self.sizes]
        rows = [
            [tool.name, *(cell(tool.name, hosts, job) for job, hosts in jobs)]
            for tool in self.tools
        ]
        return [
            "Seconds of wall clock, and how many times ours that is:",
            "",
            *page.table(["tool", *(f"{job}, {hosts} hosts" for job, hosts in jobs)], rows),
            "",
        ]

    def chart(self) -> list[str]:
        lines = []
        for hosts in self.sizes:
            took = {tool.name: self.median(tool.name, hosts, "update") for tool in self.tools}
            seen = {name: seconds for name, seconds in took.items() if seconds}
            lines += [f"update of {hosts} hosts", *bars(seen, "s"), ""]
        return ["```text", *lines[:-1], "```", ""]

    def wire(self) -> list[str]:
        hosts = max((size for size in self.sizes if size < MANY), default=self.sizes[0])

        def cells(tool: str, job: str) -> list[str]:
            runs = self.runs(tool, hosts, job)
            seen = (
                [run.tasks for run in runs],
                [run.commands for run in runs],
                [run.bytes / 1000 for run in runs],
            )
            return [f"{statistics.median(figures):.0f}" if figures else "" for figures in seen]

        rows = [
            [tool.name, *cells(tool.name, "update"), *cells(tool.name, "rerun")]
            for tool in self.tools
        ]
        head = ["tasks", "commands over SSH", "kB"]
        return [
            f"What each of {hosts} hosts is told in an update, and in a rerun; of the bytes, those of HAProxy's checks are taken off:",
            "",
            *page.table(["tool", *head, *(f"{word}, rerun" for word in head)], rows),
            "",
        ]

    def users(self) -> list[str]:
        def lost(window: Window) -> str:
            return f"{window.failed} of {len(window.elapsed)}"

        def slow(window: Window, before: Window) -> str:
            return f"{window.p99():.0f} ({window.p99() / before.p99():.1f})"

        rows = []
        for tool, seen in self.bench.traffic.items():
            before, balancer, directly = seen["before"], seen["balancer"], seen["directly"]
            rows.append(
                [tool, lost(balancer), lost(directly), f"{before.p99():.0f}",
                 slow(balancer, before), slow(directly, before)]
            )  # fmt: skip
        return [
            f"What users notice of an update of {min(self.sizes)} hosts, at {self.bench.rate:g} requests/s, "
            "p99 in ms and as times that before:",
            "",
            *page.table(
                [
                    "tool",
                    "lost, balancer",
                    "lost, directly",
                    "p99 before",
                    "p99, balancer",
                    "p99, directly",
                ],
                rows,
            ),
            "",
        ]

    def breakage(self) -> list[str]:
        if not self.bench.broken:
            return []
        rows = [
            [tool, f"{hosts}", f"{status}"] for tool, (hosts, status) in self.bench.broken.items()
        ]
        return [
            "A release whose main page answers 500, on 8 hosts:",
            "",
            *page.table(["tool", "hosts that show it to users", "exit status"], rows),
            "",
        ]

    def goals(self) -> list[str]:
        seen, back = self.bench.traffic[OURS.name], self.bench.taken_back
        during = (seen["balancer"], seen["directly"])
        sent, lost = sum(len(it.elapsed) for it in during), sum(it.failed for it in during)
        slowest = max(window.p99() for window in during) / seen["before"].p99()
        ours, rollback = OURS.name, self.bench.rollback
        goals = [
            Goal("8 hosts, against plain", "5 times faster", 5,
                 self.ratio((PLAIN.name, 8, "update"), (ours, 8, "update")), at_least=True),
            Goal("8 hosts, against drained", "3 times faster", 3,
                 self.ratio((DRAINED.name, 8, "update"), (ours, 8, "update")), at_least=True),
            Goal("20 hosts against 8, ours", "1.6 times", 1.6,
                 self.ratio((ours, 20, "update"), (ours, 8, "update"))),
            Goal("rerun of 8 hosts with nothing to do, against plain", "an eighth", 1 / 8,
                 self.ratio((ours, 8, "rerun"), (PLAIN.name, 8, "rerun"))),
            Goal("way back in a rollout, from the last of 8 hosts' verdict until the seven before it serve "
                 "the old release", "10 s", 10, max(back, default=None), " s"),
            Goal("the same, wanted of each host", "1 s", 1, max(back, default=None), " s"),
            Goal("way back of 8 hosts later, by the playbook `rollback`, through all checks", "10 s", 10,
                 rollback.seconds if rollback else None, " s"),
            Goal(f"lost of {sent} requests, through the balancer and directly", "0", 0, lost),
            Goal("p99 during the rollout against before", "1.5 times", 1.5, slowest),
        ]  # fmt: skip
        return page.table(["goal", "wanted", "measured", "reached"], [it.cells() for it in goals])


def main(args: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--sizes",
        type=lambda text: sorted(map(int, text.split(","))),
        default=[2, 8, 20],
        help="numbers of hosts (2,8,20)",
    )
    parser.add_argument(
        "--turns", type=int, default=2, help="updates by each tool; 1 from 10 hosts on (2)"
    )
    parser.add_argument(
        "--requests", type=int, default=100_000, help="to send while ours releases (100000)"
    )
    parser.add_argument("--rate", type=float, default=200, help="requests a second (200)")
    options = parser.parse_args(args)
    measured = page.machine()
    install()
    bench = Bench(options.rate)
    found = [pyinfra(bench.folder / "pyinfra_inventory.py"), ansistrano()]
    tools = [PLAIN, PIPELINED, DRAINED, *filter(None, found), OURS]
    try:
        for hosts in options.sizes:
            bench.grow(hosts)
            bench.time_all(tools, options.turns if hosts < MANY else 1)
            if hosts == min(options.sizes):
                for tool in tools:
                    bench.ask_while(tool, options.requests if tool is OURS else 0)
            if hosts == 8:
                bench.break_all([PLAIN, OURS])
                bench.go_back()
            # Half an hour of measuring is not thrown away for what the next size may do.
            done = options.sizes[: options.sizes.index(hosts) + 1]
            page.write("rollout", Report(bench, tools, done).lines(), measured)
    finally:
        bench.demo.fleet.down()
    return 0


if __name__ == "__main__":
    sys.exit(main())
