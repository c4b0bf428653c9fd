# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The faults of a release of storefront, and the check that must find each.

A fault of the code is a patch in this folder. C(materialize.py) applies it, and its first line
describes the fault. A fault of the settings or of a host is described here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.evenkeel.flask.tests.apps import materialize

# The requests of the users of each scenario, and the requests that no check of the gate makes.
PATHS = ("/", "/health", "/api/products")
# Each is another page: a cached response would not be the work of the release.
PRODUCT = tuple(f"/products/7?visit={number}" for number in range(2000))

# The beginning of the message, by the place that refused the release.
BUILD = r"localhost\]: .*"
HOST = r"app\d\]: .*"
REFUSED = r"refused on app1: .*"


@dataclass(frozen=True)
class Fault:
    """One way for a release to be bad.

    @param catcher: the step of the rollout, or the check of the gate, that must refuse it
    @param says: what the run must say, a regular expression
    @param about: what is wrong, where no patch says it
    @param settings: extra variables of the rollout
    @param paths: what the users ask for
    @param rate: how many requests a second each address of the fleet gets
    @param host: shell commands that bring the fault to a host and take it away
    @param hangs: whether users get no response, and so no release
    @param in_short: whether it is among those that C(make test) releases
    """

    name: str
    catcher: str
    says: str
    about: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    paths: tuple[str, ...] = PATHS
    rate: float = 15
    host: tuple[str, str] | None = None
    hangs: bool = False
    in_short: bool = False

    @property
    def is_released(self) -> bool:
        """Whether no check needs to find it."""
        return self.catcher == "drain"

    @property
    def needs_traffic(self) -> bool:
        """Only users can notice it, so some of them get it."""
        return self.catcher in ("bake", "drain")


def bake(
    name: str, says: str, seconds: int = 20, settings: Mapping[str, Any] | None = None, **more: Any
) -> Fault:
    return Fault(
        name,
        "bake",
        rf"{REFUSED}The bake went badly: {says}",
        settings={"rollout_bake_seconds": seconds, **(settings or {})},
        paths=PRODUCT,
        **more,
    )


SIGNED = {"redis_client_sessions": False}

FAULTS = [
    # Before any host is touched.
    Fault("wrong-database-password", "preflight", HOST + r"flask_app_database_url: .*password",
          "the database does not take the password", in_short=True,
          settings={"flask_app_database_url": "{{ fleet_secrets.database_url | regex_replace(':[^:@/]+@', ':no@') }}"}),
    Fault("redis-away", "preflight", HOST + r"redis_client_url: .*does not answer",
          "nothing answers where Redis should be",
          settings={"redis_client_url": "{{ fleet_secrets.redis_url | regex_replace(':[0-9]+/', ':6390/') }}"}),
    Fault("clock-skew", "preflight", r"app2\]: .*clock: .*6\d\d s ahead of the controller",
          "the clock of one host is ten minutes ahead, as far as its Python can tell",
          host=("echo 'import time; time.time = lambda now=time.time: now() + 600'"
                " > /usr/lib/python3/dist-packages/skew.pth", "rm /usr/lib/python3/dist-packages/skew.pth")),
    Fault("broken-requirement", "build", BUILD + r"flask_app_requirements: Cannot install .*Werkzeug==2\.3\.8"),
    Fault("broken-import", "build", BUILD + r"cannot be imported: .*No module named 'storefront\.payments'"),
    Fault("syntax", "build", BUILD + r"cannot be imported: SyntaxError"),
    Fault("dies-at-import", "build", BUILD + r"cannot be imported: .*No such file or directory: 'countries\.txt'"),
    Fault("wrong-entry", "build", BUILD + r"storefront:make_app\(\) cannot be imported: .*make_app",
          "the entry has another name", settings={"flask_app_entry": "storefront:make_app()"}, in_short=True),
    # On the hosts, before anything runs that could serve.
    Fault("broken-crash", "stage", HOST + r"cannot be loaded: .*PAYMENT_KEY is not set", in_short=True),
    Fault("debug-mode", "stage", HOST + r"cannot be loaded: .*debug mode"),
    Fault("hangs-at-boot", "stage", HOST + r"cannot be loaded: it was not done within 5 s", settings={"rollout_start_timeout": 5}),
    Fault("boots-in-60-s", "stage", HOST + r"cannot be loaded: it was not done within 60 s"),
    Fault("broken-migration", "migrate", HOST + r"0003_suppliers: new column product\.supplier.* is NOT NULL without a server default",
          in_short=True),
    Fault("migration-half", "migrate", HOST + r"flask --app storefront db upgrade' ended with status 1"),
    Fault("broken-destructive", "migrate", HOST + r"0003_no_pictures: drops column product\.picture",
          in_short=True),
    # In the slot that no user reaches.
    Fault("crash-loop", "start", REFUSED + r"(does not come up .*it dies at start|Health Check Endpoint failed)"),
    Fault("logs-nowhere", "start", REFUSED + r"does not come up .*access\.log", in_short=True),
    Fault("broken-health", "health", REFUSED + r"Health Check Endpoint failed", in_short=True),
    Fault("health-always-yes", "health", REFUSED + r"Health Check Endpoint failed \(answer 1 of 3: .*database"),
    Fault("stale-code", "health", REFUSED + r"Health Check Endpoint failed .*version",
          "old code goes out under a new number",
          settings={"flask_app_version": "3.3.1",
                    "rollout_checks": {"health": {"json": {"version": "3.3.1"}}}}),
    Fault("broken-500", "main_page", REFUSED + r"Main Page Loading failed \(500", in_short=True),
    Fault("static-missing", "main_page", REFUSED + r"Main Page Loading failed .*shop\.min\.css: 404"),
    Fault("css-as-text", "main_page", REFUSED + r"Main Page Loading failed .*shop\.css: text/plain"),
    Fault("compression-lost", "main_page", REFUSED + r"Main Page Loading failed .*compress"),
    Fault("blocks-a-worker", "main_page", REFUSED + r"Main Page Loading failed \(no answer"),
    Fault("broken-api", "api", REFUSED + r"API Health failed", in_short=True),
    Fault("api-as-html", "api", REFUSED + r"API Health failed .*text/html"),
    Fault("broken-upload", "upload", REFUSED + r"File Upload failed"),
    Fault("upload-folder", "upload", REFUSED + r"File Upload failed \(500", "the folder for uploads cannot be written",
          settings={"flask_app_env": {"UPLOAD_FOLDER": "/opt/uploads"}}),
    Fault("upload-limit", "upload", REFUSED + r"File Upload failed \(a request of \d+ bytes: 413",
          "files above 64 KiB are refused, while 2 MiB are promised",
          settings={"flask_app_env": {"MAX_CONTENT_LENGTH": "65536"}}, in_short=True),
    Fault("slow", "response_times", REFUSED + r"Response Times failed"),
    # The fleet's own inventory allows more, for the machines of the tests are busy; this is the default.
    Fault("slower-by-30-percent", "response_times", REFUSED + r"Response Times (failed|inconclusive)",
          settings={"rollout_max_slowdown": 1.25}),
    Fault("slower-5-times", "response_times", REFUSED + r"Response Times (failed|inconclusive)", in_short=True),
    Fault("health-slow", "response_times", REFUSED + r"Response Times failed \(/health"),
    Fault("broken-concurrency", "concurrency", REFUSED + r"Concurrent Connections failed", in_short=True),
    Fault("deadlock", "concurrency", REFUSED + r"Concurrent Connections failed .*no answer"),
    Fault("mixes-answers", "concurrency", REFUSED + r"Concurrent Connections failed .*belongs to another request",
          settings={"gunicorn_workers": 2, "gunicorn_worker_class": "gthread", "gunicorn_threads": 4}),
    # Sessions in Redis stay valid with another key, so these two use the signed cookie.
    Fault("broken-session", "session", REFUSED + r"Session Management failed", settings=SIGNED),
    Fault("sessions-new-secret", "session", REFUSED + r"Session Management failed .*users would be logged out",
          settings=SIGNED, in_short=True),
    Fault("sessions-in-memory", "session", REFUSED + r"Session Management failed .*read \d+ of 10"),
    Fault("account-cached", "session", REFUSED + r"Session Management failed .*cache"),
    Fault("account-shared", "session", REFUSED + r"Session Management failed"),
    Fault("cookie-without-flags", "session", REFUSED + r"Session Management failed .*httponly"),
    Fault("redirect-to-localhost", "session", REFUSED + r"Session Management failed .*localhost"),
    Fault("broken-traceback", "errors", REFUSED + r"Error Handling failed", in_short=True),
    Fault("debugger", "errors", REFUSED + r"Error Handling failed .*debugger"),
    # A request that no check makes.
    bake("broken-product", r"/products/\*: \d+ of \d+ requests failed", in_short=True),
    bake("one-percent-500", r"/products/\*: \d+ of \d+ requests failed", seconds=120),
    bake("rate-limit", r"/products/\*: \d+ of \d+ requests failed"),
    bake("leak-memory", r"each worker takes \S+ MB of memory more", seconds=40),
    bake("leak-files", r"each worker takes \S+ open files more", seconds=40),
    # Its pools fit the database, or it could take what the good release needs (flask_app_pool_max_overflow).
    bake("leak-connections", r"(each worker takes \S+ connections to port 5432 more|.*requests failed|/health: )",
         seconds=40, settings={"flask_app_pool_size": 4, "flask_app_pool_max_overflow": 0}, hangs=True),
    bake("fills-the-disk", r"\d+ KiB are logged for each request"),
    # It is released, and has no effect: a slot stops after its last response.
    Fault("drops-in-flight", "drain", "", paths=("/reports/sales?delay=1",), rate=3),
]  # fmt: skip


def about(fault: Fault) -> str:
    """The description of the fault."""
    return fault.about or materialize.versions()[fault.name].about
