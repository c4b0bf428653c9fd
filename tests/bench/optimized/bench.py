# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What does the production form bring, route by route? make bench.

storefront before, as people start it, and after, by the collection's defaults, on one
host, with the same nginx, release, database and client; and nginx alone, which is how
fast it could be. All take turns, so that other work of the machine affects all alike.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parents[1] / "fleet"), str(HERE.parent)]

import page  # noqa: E402
from _plan import container_name  # noqa: E402
from _podman import in_its, install, podman, shell  # noqa: E402
from demo import Demo  # noqa: E402
from optimized import _chart, _report  # noqa: E402
from optimized._delay import delay  # noqa: E402
from optimized._figures import (  # noqa: E402
    AFTER,
    BEFORE,
    CEILING,
    COLD,
    HEALTH,
    JSON_LIST,
    MAIN_PAGE,
    POOLED,
    ROUTES,
    STYLESHEET,
    TRIVIAL,
    Phase,
    Route,
    Turn,
    megabytes,
)

FLEET = "bench-opt"
CHART = page.PAGE.with_name("benchmarks-optimized.svg")
PATIENCE = 60
CONCURRENCY = 10
OTHERS = (1, 50, 200)
# One request of each kind that is measured at other concurrencies.
SOME = (MAIN_PAGE, JSON_LIST, HEALTH, TRIVIAL)
# As every browser does.
HEADERS = {"Accept-Encoding": "gzip"}
LOGIN = {"username": "demo", "password": "demo-password"}
SHEET = re.compile(rf'href="([^"]*{re.escape(STYLESHEET.path)}[^"]*)"')


@dataclass(frozen=True)
class Contender:
    name: str
    port: int
    # The name of its systemd unit; {slot} is the one that is live.
    unit: str = ""
    headers: tuple[tuple[str, str], ...] = ()

    def takes(self, route: Route) -> bool:
        return self.name != COLD or route.same


CONTENDERS = (
    Contender(BEFORE, 8101, "bench-before"),
    Contender(POOLED, 8102, "bench-pooled"),
    Contender(AFTER, 8000, "storefront@{slot}"),
    # The host itself can bypass the cache.
    Contender(COLD, 8000, headers=(("Cache-Control", "no-cache"),)),
    Contender(CEILING, 8103),
)
APPS = [it for it in CONTENDERS if it.unit]
# Sync workers that connect for each request, and those with one connection each, as SQLAlchemy's default is.
ENTRIES = {"bench-before": "connects:create_app()", "bench-pooled": "storefront:create_app()"}
CONNECTS = """\
import storefront
from sqlalchemy.pool import NullPool

def create_app():
    return storefront.create_app({"SQLALCHEMY_ENGINE_OPTIONS": {"poolclass": NullPool}})
"""
UNIT = """\
[Service]
Type=notify
User=storefront
RuntimeDirectory={name}
WorkingDirectory={release}/app
EnvironmentFile={release}/env
ExecStart={release}/venv/bin/gunicorn --workers 7 --no-control-socket --pythonpath /srv/bench --bind unix:/run/{name}/gunicorn.sock {entry}
"""
# As ours passes requests on, and nothing else.
FRONT = """\
server {{
    listen 127.0.0.1:{port};
    server_tokens off;
    gzip off;
    location / {{
        proxy_pass http://unix:/run/{name}/gunicorn.sock:;
        proxy_next_upstream off;
        proxy_http_version 1.1;
        proxy_set_header Connection "";
        proxy_set_header Host $http_host;
        proxy_set_header X-Forwarded-For $remote_addr;
        proxy_set_header X-Forwarded-Host $http_host;
        proxy_set_header X-Forwarded-Proto $scheme;
        proxy_set_header X-Real-IP $remote_addr;
        proxy_set_header X-Request-ID $request_id;
    }}
}}
"""
# One file for each route, in memory and open.
FROM_MEMORY = """\
server {{
    listen 127.0.0.1:{port};
    access_log off;
    gzip off;
    open_file_cache max=100 inactive=1h;
    open_file_cache_valid 1h;
{locations}}}
"""
# For "/" nginx would look for an index in any other way.
LOCATION = "    location = {path} {{ root /dev/shm; try_files /{file} =404; }}\n"
WRK = """\
export DEBIAN_FRONTEND=noninteractive
apt-get -q update && apt-get -q -y install --no-install-recommends wrk
"""
WRITE = "mkdir -p $(dirname {file}) && cat > {file} <<'END'\n{text}END\n"
# This number of requests creates many log lines.
FORGET_LOGS = "truncate -s 0 /var/log/nginx/*.log /var/log/storefront/*.log\n"
MEMORY = """\
main=$(systemctl show --value -p MainPID {unit})
for process in $main $(pgrep -P $main); do cat /proc/$process/smaps_rollup; done
"""
PINGS = """\
import os, psycopg, statistics, time
took = []
with psycopg.connect(os.environ["DATABASE_URL"].replace("+psycopg", "")) as connection:
    for _turn in range(200):
        begun = time.perf_counter()
        connection.execute("SELECT 1").fetchall()
        took.append(time.perf_counter() - begun)
print(statistics.median(took) * 1000)
"""
PING = "systemd-run -q --pipe --wait -p EnvironmentFile={release}/env {release}/venv/bin/python /srv/bench/pings.py\n"


class Bench:
    """One host with all contenders, and their requests."""

    def __init__(self, seconds: int, turns: int) -> None:
        self.seconds = seconds
        self.turns = turns
        self.demo = Demo(hosts=1, name=FLEET)
        self.host = container_name(FLEET, "app1")
        self.release = ""
        self.slot = ""
        self.cookies: dict[str, str] = {}
        self.sheets: dict[str, str] = {}

    # The content of the host

    def lay_out(self) -> None:
        self.demo.make_fleet()
        self.demo.lay_out("v1")
        self.demo.play("site")
        slot = shell(self.host, "basename $(readlink /srv/storefront/live.sock) .sock")
        self.slot = slot.strip()
        release = shell(self.host, f"readlink -f /srv/storefront/slots/{self.slot}")
        self.release = release.strip()
        shell(self.host, WRK)
        for name in ("client.py", "latency.lua"):
            podman("cp", str(HERE / name), f"{self.host}:/root/")
        self.write("/srv/bench/connects.py", CONNECTS)
        self.write("/srv/bench/pings.py", PINGS)
        for contender in APPS:
            if contender.unit in ENTRIES:
                self.put_beside(contender)
        shell(self.host, "systemctl daemon-reload")
        self.restart()
        self.put_into_memory()

    def write(self, file: str, text: str) -> None:
        shell(self.host, WRITE.format(file=file, text=text))

    def put_beside(self, contender: Contender) -> None:
        name = contender.unit
        unit = UNIT.format(name=name, release=self.release, entry=ENTRIES[name])
        self.write(f"/etc/systemd/system/{name}.service", unit)
        self.write(f"/etc/nginx/conf.d/{name}.conf", FRONT.format(name=name, port=contender.port))

    def put_into_memory(self) -> None:
        """The responses of the production form, byte by byte."""
        ceiling = next(it for it in CONTENDERS if it.name == CEILING)
        after = next(it for it in CONTENDERS if it.name == AFTER)
        files = {}
        for number, route in enumerate(ROUTES):
            path = self.path(after, route)
            body = self.ask(after, path, self.cookies[AFTER] if route.session else "")["body"]
            files[path.partition("?")[0]] = number
            local = self.demo.folder / "body"
            local.write_bytes(body.encode("latin-1"))
            podman("cp", str(local), f"{self.host}:/dev/shm/{number}")
        locations = [LOCATION.format(path=path, file=file) for path, file in files.items()]
        text = FROM_MEMORY.format(port=ceiling.port, locations="".join(locations))
        self.write("/etc/nginx/conf.d/bench-ceiling.conf", text)
        shell(self.host, "nginx -q -t && systemctl reload nginx")

    def restart(self) -> None:
        """Make every contender connect to the database again, and log in."""
        units = [contender.unit.format(slot=self.slot) for contender in APPS]
        shell(self.host, f"systemctl restart {' '.join(units)} && systemctl reload nginx")
        for contender in APPS:
            self.await_answer(contender)
            self.log_in(contender)
            found = SHEET.search(self.ask(contender, "/", encoding="identity")["body"])
            if not found:
                raise SystemExit(f"bench: the main page of {contender.name} names no stylesheet.")
            self.sheets[contender.name] = found[1]
        for name in (COLD, CEILING):
            self.cookies[name], self.sheets[name] = self.cookies[AFTER], self.sheets[AFTER]

    def await_answer(self, contender: Contender) -> None:
        deadline = time.monotonic() + PATIENCE
        while self.ask(contender, "/health")["status"] != 200:
            if time.monotonic() > deadline:
                raise SystemExit(
                    f"bench: {contender.name} does not answer. See its journal in {self.host}."
                )

    def log_in(self, contender: Contender) -> None:
        """A session with something in it; what is in a cookie changes with it."""
        cookie = ""
        for path, form in (("/login", LOGIN), ("/cart/add/1", {})):
            headers = self.ask(contender, path, cookie, form)["headers"]
            cookies = [value.partition(";")[0] for name, value in headers if name == "set-cookie"]
            cookie = "; ".join(cookies) or cookie
        self.cookies[contender.name] = cookie

    # Asking

    def orders(self, orders: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        output = podman(
            "exec", "-i", self.host, "python3", "/root/client.py", text=json.dumps(orders)
        )
        return [*map(json.loads, output.splitlines())]

    def ask(
        self,
        contender: Contender,
        path: str,
        cookie: str = "",
        form: dict[str, str] | None = None,
        encoding: str = "gzip",
    ) -> dict[str, Any]:
        headers = {"Accept-Encoding": encoding, **({"Cookie": cookie} if cookie else {})}
        order = {"port": contender.port, "path": path, "headers": headers, "form": form}
        return self.orders([order])[0]

    def path(self, contender: Contender, route: Route) -> str:
        return self.sheets[contender.name] if route is STYLESHEET else route.path

    def measure(
        self, route: Route, connections: int, contenders: Sequence[Contender]
    ) -> list[Turn]:
        """Let the contenders take turns at a route."""
        shell(self.host, FORGET_LOGS)
        orders = []
        for contender in contenders:
            headers = {**HEADERS, **dict(contender.headers)}
            if route.session:
                headers["Cookie"] = self.cookies[contender.name]
            orders.append(
                {
                    "contender": contender.name,
                    "route": route.path,
                    "port": contender.port,
                    "path": self.path(contender, route),
                    "headers": headers,
                    "connections": connections,
                    "seconds": self.seconds,
                }
            )
        turns = [Turn.read(record) for record in self.orders(orders * self.turns)]
        last = {turn.contender: turn for turn in turns}.values()
        shown = ", ".join(f"{turn.contender} {turn.p50:.2f}" for turn in last)
        failed = sum(turn.errors for turn in turns)
        say(f"{route.path} at {connections}: p50 {shown} ms; {failed} errors")
        return turns

    def memory(self, contender: Contender) -> float:
        script = MEMORY.format(unit=contender.unit.format(slot=self.slot))
        return megabytes(in_its(self.host, "-m -p", "sh", "-euc", script))

    def phase(self, name: str) -> Phase:
        round_trip = float(shell(self.host, PING.format(release=self.release)))
        say(f"{name}: {round_trip:.2f} ms to the database and back")
        turns = []
        for route in ROUTES:
            turns += self.measure(route, CONCURRENCY, [it for it in CONTENDERS if it.takes(route)])
        few = [it for it in CONTENDERS if it.name in (BEFORE, AFTER, CEILING)]
        for connections in OTHERS:
            for route in SOME:
                turns += self.measure(route, connections, few)
        memory = {contender.name: self.memory(contender) for contender in APPS}
        return Phase(name, round_trip, turns, memory)

    def run(self, milliseconds: float) -> tuple[list[Phase], str]:
        """Near to the database, and farther away; and how that was done."""
        near = self.phase("without delay")
        how = delay(container_name(FLEET, "data"), milliseconds)
        self.restart()
        return [near, self.phase(f"with {milliseconds:g} ms of delay to the database")], how


def say(text: str) -> None:
    print(f"bench: {text}", flush=True)


def main(args: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=int, default=2, help="of each turn (2)")
    parser.add_argument("--turns", type=int, default=3, help="of each contender at each route (3)")
    parser.add_argument(
        "--delay", type=float, default=1, help="of the database, in milliseconds (1)"
    )
    parser.add_argument(
        "--quick", action="store_true", help="one turn of a second, and write nothing"
    )
    options = parser.parse_args(args)
    seconds, turns = (1, 1) if options.quick else (options.seconds, options.turns)
    measured = page.machine()
    install()
    bench = Bench(seconds, turns)
    try:
        bench.lay_out()
        phases, how = bench.run(options.delay)
    finally:
        bench.demo.fleet.down()
    lines = [
        f"Medians of {turns} turns of {seconds} s each, in one run. {how}",
        "",
        f"![p50 of each route before and after, {phases[-1].delay}]({CHART.name})",
        "",
        *(line for phase in phases for line in _report.lines(phase)),
    ]
    if options.quick:
        print("\n".join(lines))
        return 0
    title = f"p50 at concurrency {CONCURRENCY}, {phases[-1].delay}"
    CHART.write_text(_chart.bars(title, "ms", _report.chart(phases[-1])), encoding="utf-8")
    page.write("optimized", lines[:-1], measured)
    return 0


if __name__ == "__main__":
    sys.exit(main())
