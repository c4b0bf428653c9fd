# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Apps of different kinds return the same responses in their production form as without it.

Each app also runs plain on the same host, from the venv and with the environment of its live release.
Both get the same requests.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from ansible_collections.evenkeel.flask.molecule.shared.testbed import Host
from ansible_collections.evenkeel.flask.molecule.third_party.comparison import (
    Asker,
    Visitor,
    differences,
    has_no_shape,
    stands_still,
)

PLAIN_PORT = 9000
# One more than the number of workers, so that one worker gets a second request.
TIMES = 6
# Both get requests for the same site, and plain gets the headers of nginx, in its order.
ASKED = {"Host": "app.example", "X-Request-ID": "0123456789abcdef", "Accept-Encoding": "identity"}
TOLD = {
    "Host": "app.example",
    "X-Forwarded-For": "127.0.0.1",
    "X-Forwarded-Host": "app.example",
    "X-Forwarded-Proto": "http",
    "X-Real-IP": "127.0.0.1",
    **ASKED,
}


def cookies(visitor):
    """httpbin's: it has no sessions."""
    visitor.get("/cookies/set?flavour=oat&size=2")
    visitor.get("/cookies")
    visitor.get("/cookies/delete?size")
    visitor.get("/cookies")


def share_expenses(visitor):
    """A visit to ihatemoney: a person opens a project and enters a payment."""
    visitor.get("/trip/")
    visitor.get("/create")
    project = {"name": "trip", "password": "gr33n", "contact_email": "ann@example.org"}
    visitor.post("/create", {**project, "default_currency": "XXX"})
    visitor.get("/trip/")
    for name in ("Ann", "Bob"):
        visitor.post("/trip/members/add", {"name": name, "weight": 1})
        page = visitor.get("/trip/").text
    members = re.findall(r'<option[^>]* value="(\d+)">', page.partition('name="payer"')[2])[:2]
    # The last payer is stored in a dict in the session.
    for payer in (*members, members[0]):
        bill = {"what": "Tea", "amount": 7, "payer": payer, "payed_for": members}
        details = {"date": "2026-01-31", "original_currency": "XXX", "bill_type": "Expense"}
        visitor.post("/trip/add", {**bill, **details})
        visitor.get("/trip/")
        visitor.get("/trip/add")
    for path in ("/trip/", "/"):
        visitor.get_as_another(path)
    for page in ("settle_bills", "statistics", "history", "edit", "invite"):
        visitor.get(f"/trip/{page}")
    for name in ("bills.json", "bills.csv", "transactions.json"):
        visitor.get(f"/trip/export/{name}")
    visitor.get("/lang/fr")
    visitor.get("/trip/")
    visitor.post("/exit")
    visitor.get("/trip/")
    visitor.get("/authenticate?project_id=trip")
    visitor.post("/authenticate", {"id": "trip", "password": "gr33n"})
    visitor.get("/trip/")
    visitor.get("/trip/edit")
    visitor.post("/trip/delete", {"password": "gr33n"})
    visitor.get("/")
    visitor.get("/trip/")


def keep_a_paste(visitor):
    """A visit to bepasty: a person logs in by a secret, and uploads a file."""
    visitor.post("/+login", {"token": "wrong"})
    visitor.get("/")
    visitor.post("/+upload", {"text": "refused", "filename": "a.txt"})
    visitor.post("/+login", {"token": "may-do-all"})
    visitor.get("/")
    text = {"text": "print('tea')\n", "filename": "tea.py", "contenttype": "text/x-python"}
    created = visitor.post("/+upload", text)
    paste = (created.headers["Location"] or "/refused").partition("#")[0]
    shown = ("", "/+download", "/+inline", "/+qr", "/+thumbnail", "/+carousel")
    for view in shown:
        visitor.get(paste + view)
    for path in ("/", "/+list"):
        visitor.get(path)
        visitor.get_as_another(path)
    visitor.post(f"{paste}/+modify", {"filename": "oat.py", "contenttype": "text/plain"})
    visitor.get(paste)
    visitor.post(f"{paste}/+lock")
    visitor.post("/+logout")
    for path in ("/", "/+list", paste):
        visitor.get(path)
    visitor.post("/+login", {"token": "may-do-all"})
    visitor.get(f"/apis/rest/items{paste}")
    visitor.post(f"{paste}/+unlock")
    visitor.post(f"{paste}/+delete")
    visitor.get(paste)


@dataclass(frozen=True)
class App:
    """An app of the host.

    @param paths: requested in addition to the routes without arguments
    @param instead: substitutes for routes that would take long
    @param measures: those that the status must show as applied
    @param kept: paths that the cache serves at the end; pages with a session are not among them
    """

    name: str
    port: int
    entry: str
    paths: tuple[str, ...]
    flow: Callable[[Visitor], None]
    measures: set[str]
    kept: set[str] = field(default_factory=set)
    instead: dict[str, str] = field(default_factory=dict)


APPS = [
    App(
        "httpbin",
        8000,
        "httpbin:app",
        (
            "/absolute-redirect/2",
            "/anything/at/all?a=1&a=2",
            "/base64/dGVh",
            "/basic-auth/ann/word",
            "/bytes/64?seed=7",
            "/cache/60",
            "/delay/0.01",
            "/etag/tea",
            "/get?answer=%C3%A9",
            "/image/png",
            "/image/svg",
            "/links/5/2",
            "/nowhere",
            "/range/100",
            "/redirect-to?url=/html",
            "/redirect/2",
            "/relative-redirect/2",
            "/response-headers?X-Tea=oat&X-Tea=green",
            "/status/204",
            "/status/418",
            "/static/favicon.ico",
            "/status/503",
            "/stream-bytes/100?seed=7",
            "/stream/3",
        ),
        cookies,
        {"cache", "json", "preload"},
        kept={"/html", "/links/5/2"},
        instead={"/drip": "/drip?duration=0&numbytes=3"},
    ),
    App(
        "ihatemoney",
        8010,
        "ihatemoney.run:create_app()",
        (
            "/api/projects/demo",
            "/authenticate?project_id=demo",
            "/authenticate?project_id=nobody",
            "/create?project_id=new",
            "/demo/",
            "/demo/add",
            "/demo/history",
            "/demo/join/forged",
            "/demo/settle_bills",
            "/demo/statistics",
            "/lang/de",
            "/nowhere/",
            "/static/css/main.css",
            "/static/js/ihatemoney.js",
            "/static/nowhere.css",
        ),
        share_expenses,
        {"cache", "json", "pool", "preload", "sessions"},
    ),
    App(
        "bepasty",
        8020,
        "bepasty.app:create_app()",
        (
            "/apis/rest/items/nowhere1",
            "/nowhere1",
            "/nowhere1/+download",
            "/static/app/css/style.css",
            "/static/nowhere.css",
            "/xstatic/bootstrap/css/bootstrap.min.css",
            "/xstatic/nothing/at.all",
        ),
        keep_a_paste,
        # All its responses vary by its cookie, also static files.
        {"cache", "json", "preload", "sessions"},
    ),
]


class Plain:
    """The plain app under gunicorn without this collection, during a C(with)."""

    def __init__(self, host: Host, app: App) -> None:
        self.host = host
        self.app = app
        self.unit = f"plain-{app.name}.service"

    def _run(self, options: str, command: str) -> str:
        """As the app's user, with all that its own slot gives it."""
        live = self.host.live_folder
        properties = (
            f"-p User={self.app.name} -p EnvironmentFile={live}/env -p WorkingDirectory={live}/app"
        )
        return self.host.see.check_output(
            f"systemd-run --quiet --collect {properties} {options} {live}/venv/bin/{command}",
            self.app.entry,
        )

    def __enter__(self) -> Plain:
        # It reports when it listens.
        self._run(
            f"--unit={self.unit} -p Type=notify", f"gunicorn --bind=127.0.0.1:{PLAIN_PORT} %s"
        )
        return self

    def __exit__(self, *_exception: object) -> None:
        self.host.see.check_output(f"systemctl stop {self.unit}")

    def routes(self) -> list[str]:
        """Return the routes that accept GET without an argument."""
        table = self._run("--pipe --wait", "flask --app %s routes")
        rows = [re.split(r" {2,}", line.strip()) for line in table.splitlines()[2:]]
        return sorted(
            {rule for _endpoint, methods, rule in rows if "GET" in methods and "<" not in rule}
        )


class Both:
    """An app in its production form, and plain."""

    def __init__(self, asker: Asker, plain: Plain) -> None:
        self.asker = asker
        self.plain = plain
        self.app = plain.app

    def visitors(self) -> tuple[Visitor, Visitor]:
        """New ones, of plain and of the other."""
        return (
            Visitor(self.asker, PLAIN_PORT, TOLD),
            Visitor(self.asker, self.app.port, ASKED),
        )


@pytest.fixture(scope="module")
def asker(host):
    host.put(Path(__file__).parents[1] / "ask.py", "/tmp")
    with Asker(host.container, "/tmp/ask.py") as asker:
        yield asker


@pytest.fixture(scope="module", params=APPS, ids=lambda app: app.name)
def both(request, host, asker):
    with Plain(Host(host.container, request.param.name), request.param) as plain:
        yield Both(asker, plain)


def test_all_that_it_can_have_is_applied(both):
    text = both.plain.host.see.file(f"{both.plain.host.live_folder}/optimizations.json")
    measures_listed = json.loads(text.content_string)
    applied = {each["measure"] for each in measures_listed if each["state"] == "applied"}
    assert applied == both.app.measures


def test_each_route_answers_as_before(both):
    routes = both.plain.routes()
    assert len(routes) > 2
    wrong, kept = {}, set()
    for route in (*routes, *both.app.paths):
        path = both.app.instead.get(route, route)

        def ask(side, path=path):
            return both.visitors()[side].get(path)

        plain = [ask(0), ask(0)]
        optimized = [ask(1) for _time in range(TIMES)]
        # Responses that change with time would also have changed for the others.
        plain.append(ask(0))
        found = [each for answer in optimized for each in differences(plain, answer)]
        if stands_still(plain, optimized):
            found.append("it was another one each time, and is now the same")
        if found:
            wrong[path] = found
        assert not has_no_shape(plain)
        if optimized[-1].headers["X-Cache"] == "HIT":
            kept.add(path)
    assert not wrong
    assert kept >= both.app.kept


def test_who_has_a_session_is_answered_as_before(both):
    flows = []
    for side in (0, 1, 0):
        visitor = both.visitors()[side]
        both.app.flow(visitor)
        flows.append(visitor.answers)
    assert len({len(flow) for flow in flows}) == 1
    wrong = {}
    for number, ((asked, before), (_asked, now), (_again, after)) in enumerate(zip(*flows)):
        if found := differences([before, after], now):
            wrong[f"{number} {asked}"] = found
        assert not has_no_shape([before, after])
    assert not wrong
