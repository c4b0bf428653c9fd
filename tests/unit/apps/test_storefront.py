# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The sample app: its good versions serve, and each broken one has the fault that it describes.

The rollout tests rely on these versions. Without the fault they would pass for the wrong
reason.
"""

from __future__ import annotations

import fcntl
import functools
import importlib
import importlib.metadata
import io
import os
import re
import shutil
import subprocess
import sys
import threading
from contextlib import contextmanager

import pytest
from ansible_collections.evenkeel.flask.tests.apps import materialize as apps
from packaging.requirements import Requirement
from werkzeug.serving import make_server

GOOD = ["v1", "v2"]
BROKEN = [name for name in apps.versions() if name not in GOOD]
NO_PYTHON = "syntax"
MUG = {"name": "Mug", "price_cents": 1800, "category": "Kitchen"}
LOGIN = {"username": "demo", "password": "demo-password"}


def run(folder, *command, **variables):
    return subprocess.run(
        [sys.executable, "-m", *command],
        cwd=folder,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1", **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


def upgrade(folder, database):
    # In a process of its own: Alembic's env.py takes the loggers over.
    return run(
        folder,
        "flask",
        "--app",
        "storefront",
        "db",
        "upgrade",
        DATABASE_URL=f"sqlite:///{database}",
    )


def is_python(path):
    try:
        compile(path.read_bytes(), path, "exec")
    except SyntaxError:
        return False
    return True


def forget_storefront():
    """Take its modules away, and return them."""
    names = [name for name in sys.modules if name.partition(".")[0] == "storefront"]
    return {name: sys.modules.pop(name) for name in names}


@pytest.fixture(scope="module")
def migrated(tmp_path_factory):
    """A database for each good version, to copy from."""
    root = tmp_path_factory.mktemp("migrated")
    databases = {}
    for name in GOOD:
        done = upgrade(apps.materialize(name, root / name), root / f"{name}.db")
        assert done.returncode == 0, done.stdout
        databases[name] = root / f"{name}.db"
    return databases


@pytest.fixture(scope="module")
def laid_out(tmp_path_factory):
    """The folder of a version, laid out and compiled once for all tests."""

    @functools.cache
    def lay_out(version, on="v1"):
        return apps.materialize(version, tmp_path_factory.mktemp("app") / version, on)

    return lay_out


@pytest.fixture(scope="module")
def imported():
    """The modules of good versions, without state that the next app would see."""
    return {}


@pytest.fixture
def storefront(tmp_path, monkeypatch, migrated, laid_out, imported):
    """Import a version of the app, with the database of the good version under it."""
    loaded = []

    def load(version, on="v1"):
        base = version if version in GOOD else on
        database = shutil.copy(migrated[base], tmp_path / "shop.db")
        monkeypatch.setenv("DATABASE_URL", f"sqlite:///{database}")
        monkeypatch.setenv("UPLOAD_FOLDER", str(tmp_path / "uploads"))
        monkeypatch.setenv("SECRET_KEY", "the same in every process")
        monkeypatch.delenv("PAYMENT_KEY", raising=False)
        monkeypatch.delenv("MAX_CONTENT_LENGTH", raising=False)
        forget_storefront()
        monkeypatch.syspath_prepend(str(laid_out(version, on)))
        sys.modules.update(imported.get(version, {}))
        loaded.append(version)
        return importlib.import_module("storefront")

    yield load
    modules = forget_storefront()
    imported.update({name: modules for name in loaded[-1:] if name in GOOD})


@pytest.fixture
def client(storefront):
    return lambda version, on="v1": storefront(version, on).create_app().test_client()


@contextmanager
def serving(app):
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


# Laying out


@pytest.mark.parametrize("on", GOOD)
@pytest.mark.parametrize("version", BROKEN)
def test_every_fault_can_be_laid_on_every_good_version(tmp_path, version, on):
    folder = apps.materialize(version, tmp_path / "app", on)
    assert (folder / "migrations/versions/0002_ratings.py").exists() == (on == "v2")
    assert all(map(is_python, folder.rglob("*.py"))) == (version != NO_PYTHON)


@pytest.mark.parametrize(("version", "known"), apps.versions().items())
def test_number_of_a_version_stands_wherever_it_is_read(tmp_path, version, known):
    folder = apps.materialize(version, tmp_path / "app")
    assert f'\nversion = "{known.number}"\n' in (folder / "pyproject.toml").read_text()
    assert f'__version__ = "{known.number}"\n' in (folder / "storefront/__init__.py").read_text()


def test_number_belongs_to_one_version():
    known = apps.versions()
    assert len({version.number for version in known.values()}) == len(known)


def test_patch_applies_inside_another_work_tree(tmp_path):
    subprocess.run(["git", "init", "--quiet", tmp_path], check=True)
    folder = apps.materialize("v2", tmp_path / "deep" / "app")
    assert (folder / "migrations/versions/0002_ratings.py").exists()


def test_caches_and_local_data_stay_behind(tmp_path, monkeypatch):
    source = shutil.copytree(apps.APP, tmp_path / "source")
    for name in ("instance", "storefront/__pycache__", ".pytest_cache"):
        (source / name).mkdir(exist_ok=True)
    monkeypatch.setattr(apps, "APP", source)
    folder = apps.materialize("v1", tmp_path / "app")
    assert not [path for path in folder.rglob("*") if re.search("instance|cache", path.name)]


def test_earlier_copy_is_replaced_whole(tmp_path):
    apps.materialize("v2", tmp_path / "app")
    folder = apps.materialize("v1", tmp_path / "app")
    assert not (folder / "migrations/versions/0002_ratings.py").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["app"]


def test_folder_of_something_else_is_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(apps.VersionError, match="holds something else"):
        apps.materialize("v1", tmp_path)
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


@pytest.mark.parametrize("place", [apps.APP, apps.HERE, apps.APP / "copy"])
def test_app_itself_is_never_overwritten(place):
    with pytest.raises(apps.VersionError, match="own place"):
        apps.materialize("v1", place)
    assert (apps.APP / "pyproject.toml").exists()


def test_patch_that_does_not_apply_leaves_the_earlier_copy(tmp_path, monkeypatch):
    folder = apps.materialize("v1", tmp_path / "app")
    patches = shutil.copytree(apps.FAULTS, tmp_path / "faults")
    text = (patches / "slow.patch").read_text().replace(" def index", " def another")
    (patches / "slow.patch").write_text(text.replace("orders = db", "parcels = db"))
    monkeypatch.setattr(apps, "FAULTS", patches)
    with pytest.raises(apps.VersionError, match=r"slow does not apply.*storefront/views.py"):
        apps.materialize("slow", folder)
    assert '__version__ = "1.0.0"' in (folder / "storefront/__init__.py").read_text()


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["v9", "app"], "There is no version v9. Known are: v1, v2, broken-500,"),
        (["v2", "app", "--on", "v9"], "There is no version v9."),
        (["v1", "app", "--on", "v2"], "v1 is the app as it is"),
    ],
)
def test_wrong_name_is_told_in_one_line(tmp_path, monkeypatch, capsys, args, says):
    monkeypatch.chdir(tmp_path)
    assert apps.main(args) == 1
    output = capsys.readouterr().err
    assert output.startswith(says)
    assert output.count("\n") == 1
    assert not (tmp_path / "app").exists()


def test_list_tells_what_each_version_is(capsys):
    assert apps.main(["--list"]) == 0
    listed = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in listed] == list(apps.versions())
    assert all(len(line.split(maxsplit=2)) == 3 for line in listed)


# Good versions


@pytest.mark.slow
@pytest.mark.parametrize("version", GOOD)
def test_good_version_passes_its_team_s_own_suite(storefront, laid_out, version):
    app = storefront(version).create_app()
    with serving(app) as url:
        done = run(
            laid_out(version), "pytest", "-q", "-p", "no:cacheprovider", "tests", BASE_URL=url
        )
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("version", GOOD)
@pytest.mark.parametrize(
    ("method", "path", "body", "status", "kind"),
    [
        ("GET", "/", None, 200, "text/html"),
        ("GET", "/products", None, 200, "text/html"),
        ("GET", "/products/1", None, 200, "text/html"),
        ("GET", "/static/shop.css", None, 200, "text/css"),
        ("GET", "/static/logo.svg", None, 200, "image/svg+xml"),
        ("GET", "/api/products?category=Study&page=2", None, 200, "application/json"),
        ("GET", "/api/products/1", None, 200, "application/json"),
        ("GET", "/api/categories", None, 200, "application/json"),
        ("POST", "/api/products", MUG, 201, "application/json"),
        ("POST", "/api/products", {}, 400, "application/json"),
        ("GET", "/api/nothing", None, 404, "application/json"),
        ("GET", "/cart", None, 200, "application/json"),
        ("GET", "/login", None, 200, "text/html"),
        ("GET", "/account", None, 302, "text/html"),
        ("GET", "/reports/sales", None, 200, "application/json"),
        ("GET", "/nothing", None, 404, "text/html"),
        ("DELETE", "/", None, 405, "text/html"),
        ("GET", "/health", None, 200, "application/json"),
    ],
)
def test_good_version_answers(client, version, method, path, body, status, kind):
    answer = client(version).open(path, method=method, json=body)
    assert (answer.status_code, answer.mimetype) == (status, kind)


@pytest.mark.parametrize("version", GOOD)
def test_ordered_things_leave_the_cart_for_the_account(client, version):
    shopper = client(version)
    shopper.post("/login", data=LOGIN)
    shopper.post("/cart/add/60")
    page = shopper.post("/checkout", follow_redirects=True).text
    assert "walnut crate" in page
    assert shopper.get("/cart").json["count"] == 0


@pytest.mark.parametrize("version", GOOD)
def test_health_is_503_without_the_database(storefront, version):
    app = storefront(version).create_app(
        {"SQLALCHEMY_DATABASE_URI": "sqlite:////no/such/folder/shop.db"}
    )
    answer = app.test_client().get("/health")
    assert answer.status_code == 503
    assert answer.json == {
        "status": "error",
        "database": "unreachable",
        "version": apps.versions()[version].number,
    }


def test_failure_is_a_page_for_people_and_json_for_the_api(storefront):
    app = storefront("v1").create_app(
        {"SQLALCHEMY_DATABASE_URI": "sqlite:////no/such/folder/shop.db"}
    )
    page, answer = (app.test_client().get(path) for path in ("/", "/api/products"))
    assert (page.status_code, page.mimetype) == (500, "text/html")
    assert (answer.status_code, answer.mimetype) == (500, "application/json")
    assert "sqlite" not in page.text + answer.text


@pytest.mark.parametrize(
    ("asked", "waited"), [("2", 2), ("99", 10), ("-1", 0), ("inf", 10), ("nan", 10), ("soon", 0)]
)
def test_delay_of_the_report_is_bounded(client, monkeypatch, asked, waited):
    shopper = client("v1")
    waits = []
    monkeypatch.setattr(sys.modules["storefront.views"].time, "sleep", waits.append)
    assert shopper.get(f"/reports/sales?delay={asked}").status_code == 200
    assert waits == [waited]


@pytest.mark.parametrize(
    ("given", "used"),
    [
        ("postgres://u:p@db/shop", "postgresql+psycopg://u:p@db/shop"),
        ("postgresql://u:p@db/shop", "postgresql+psycopg://u:p@db/shop"),
        ("postgresql+psycopg://u:p@db/shop", "postgresql+psycopg://u:p@db/shop"),
        ("sqlite:////data/shop.db", "sqlite:////data/shop.db"),
    ],
)
def test_database_url_names_the_driver(storefront, monkeypatch, given, used):
    package = storefront("v1")
    monkeypatch.setenv("DATABASE_URL", given)
    assert package.database_url() == used


@pytest.mark.slow
@pytest.mark.parametrize("version", GOOD)
def test_migrations_make_the_tables_that_the_models_want(storefront, laid_out, version):
    storefront(version)
    done = run(laid_out(version), "flask", "--app", "storefront", "db", "check")
    assert done.returncode == 0, done.stdout


def test_v1_serves_on_the_database_of_v2(storefront, migrated, tmp_path):
    app = storefront("v1").create_app()
    shutil.copy(migrated["v2"], tmp_path / "shop.db")
    shopper = app.test_client()
    assert shopper.get("/").status_code == 200
    assert shopper.post("/api/products", json=MUG).status_code == 201


def test_v2_shows_on_the_main_page_and_in_the_api(client):
    shopper = client("v2")
    assert "rated by you" in shopper.get("/").text
    assert shopper.get("/api/products/1").json["rating"] == 5.0


def test_v1_knows_no_ratings(client):
    shopper = client("v1")
    assert "rated by you" not in shopper.get("/").text
    assert "rating" not in shopper.get("/api/products/1").json


# Broken versions


@pytest.mark.parametrize("on", GOOD)
def test_broken_500_fails_on_the_main_page_only(client, on):
    shopper = client("broken-500", on)
    page = shopper.get("/")
    assert page.status_code == 500
    assert "NameError" not in page.text
    assert shopper.get("/health").status_code == 200
    assert shopper.get("/products/1").status_code == 200


@pytest.mark.parametrize("on", GOOD)
def test_broken_product_fails_where_no_check_looks(client, on):
    shopper = client("broken-product", on)
    assert shopper.get("/products/1").status_code == 500
    for path in ("/", "/health", "/products", "/api/products/1"):
        assert shopper.get(path).status_code == 200


@pytest.mark.parametrize("on", GOOD)
def test_broken_import_cannot_be_imported(storefront, on):
    with pytest.raises(ModuleNotFoundError, match=r"storefront\.payments"):
        storefront("broken-import", on)


@pytest.mark.parametrize("on", GOOD)
def test_broken_crash_imports_but_cannot_be_created(storefront, on):
    package = storefront("broken-crash", on)
    with pytest.raises(RuntimeError, match="PAYMENT_KEY is not set"):
        package.create_app()


@pytest.mark.parametrize("on", GOOD)
def test_broken_health_serves_but_says_it_is_ill(client, on):
    shopper = client("broken-health", on)
    assert shopper.get("/health").status_code == 503
    assert shopper.get("/").status_code == 200


@pytest.mark.parametrize(
    ("version", "on", "status"),
    [("v1", "v1", 201), ("broken-upload", "v1", 500), ("broken-upload", "v2", 500)],
)
def test_broken_upload_takes_no_file(client, version, on, status):
    shopper = client(version, on)
    answer = shopper.post("/upload", data={"file": (io.BytesIO(b"plan"), "plan.pdf")})
    assert answer.status_code == status
    assert shopper.get("/").status_code == 200


@pytest.mark.parametrize(
    ("version", "on", "status"),
    [("v1", "v1", 200), ("broken-session", "v1", 302), ("broken-session", "v2", 302)],
)
def test_broken_session_is_unknown_to_the_next_process(storefront, version, on, status):
    package = storefront(version, on)
    one, other = (package.create_app().test_client() for _process in range(2))
    assert one.post("/login", data=LOGIN).location == "/account"
    assert one.get("/account").status_code == 200
    other.set_cookie("session", one.get_cookie("session").value)
    assert other.get("/account").status_code == status


@pytest.mark.slow
@pytest.mark.parametrize(
    ("on", "why"), [("v1", "NOT NULL"), ("v2", "Multiple head revisions are present")]
)
def test_broken_migration_fails_and_changes_nothing(tmp_path, migrated, on, why):
    folder = apps.materialize("broken-migration", tmp_path / "app", on)
    database = shutil.copy(migrated[on], tmp_path / "shop.db")
    before = database.read_bytes()
    done = upgrade(folder, database)
    assert done.returncode != 0
    assert why in done.stdout
    assert database.read_bytes() == before


@pytest.mark.slow
def test_broken_destructive_would_go_well(tmp_path, migrated):
    folder = apps.materialize("broken-destructive", tmp_path / "app")
    done = upgrade(folder, shutil.copy(migrated["v1"], tmp_path / "shop.db"))
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("version", "on", "agree"),
    [("v1", "v1", True), ("broken-requirement", "v1", False), ("broken-requirement", "v2", False)],
)
def test_broken_requirement_contradicts_itself(tmp_path, version, on, agree):
    folder = apps.materialize(version, tmp_path / "app", on)
    pinned = [Requirement(line) for line in (folder / "requirements.txt").read_text().splitlines()]
    pins = {pin.name: str(next(iter(pin.specifier)).version) for pin in pinned}
    wanted = map(Requirement, importlib.metadata.requires("Flask") or [])
    werkzeug = next(requirement for requirement in wanted if requirement.name.lower() == "werkzeug")
    assert werkzeug.specifier.contains(pins["Werkzeug"]) is agree


@pytest.mark.parametrize(
    ("version", "on", "waited"), [("v1", "v1", []), ("slow", "v1", [1.5]), ("slow", "v2", [1.5])]
)
def test_slow_lets_the_main_page_wait(client, monkeypatch, version, on, waited):
    shopper = client(version, on)
    waits = []
    monkeypatch.setattr(sys.modules["storefront.views"].time, "sleep", waits.append)
    assert shopper.get("/").status_code == 200
    assert waits == waited


@pytest.mark.parametrize(
    ("version", "on", "status", "shown"),
    [
        ("v1", "v1", 400, False),
        ("broken-traceback", "v1", 500, True),
        ("broken-traceback", "v2", 500, True),
    ],
)
@pytest.mark.parametrize("body", [b"{not json", b"[]", b'{"name": "Mug"}'])
def test_broken_traceback_shows_it_for_a_bad_body(client, version, on, status, shown, body):
    answer = client(version, on).post("/api/products", data=body, content_type="application/json")
    assert answer.status_code == status
    assert ("Traceback (most recent call last)" in answer.text) is shown


def test_broken_traceback_serves_good_bodies(client):
    assert client("broken-traceback").post("/api/products", json=MUG).status_code == 201


@pytest.mark.parametrize(("version", "key"), [("v1", "products"), ("broken-api", "items")])
def test_broken_api_calls_its_items_by_another_name(client, version, key):
    assert key in client(version).get("/api/products").json


@pytest.mark.parametrize("on", GOOD)
def test_broken_concurrency_turns_away_whoever_is_not_alone(client, on):
    shopper = client("broken-concurrency", on)
    assert shopper.get("/").status_code == 200
    with open(os.path.join(shopper.application.instance_path, "lock"), "a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert shopper.get("/").status_code == 503
        assert shopper.get("/health").status_code == 200
    assert shopper.get("/").status_code == 200
