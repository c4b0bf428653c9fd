# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Root never follows, opens or waits for what the app controls: the table of all such accesses.

Each row of ACCESSES is an action of root on a path that the app controls. Each component of the path is replaced in
turn by everything that an app can put there. The action ends with a message, and nothing outside changes.
A new access gets a row here. OWN has the files whose code touches only what is root's.
"""

from __future__ import annotations

import ast
import contextlib
import grp
import json
import multiprocessing
import os
import pathlib
import pwd
import socket

import pytest
import yaml
from ansible_collections.evenkeel.flask.plugins.module_utils._artifact import archive
from ansible_collections.evenkeel.flask.plugins.module_utils._bake import watch as bake_watch
from ansible_collections.evenkeel.flask.plugins.module_utils._migrations import scripts
from ansible_collections.evenkeel.flask.plugins.module_utils._release import (
    layout,
    lock,
    plan,
    stage,
    static,
)
from ansible_collections.evenkeel.flask.plugins.module_utils._release import slots as release_slots
from ansible_collections.evenkeel.flask.plugins.module_utils._system import app_directories

COLLECTION = pathlib.Path(__file__).resolve().parents[3]
SECONDS = 30
RUN = {"name": "shop", "run": "r", "who": "w", "controller": "c"}
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root acts for another user")


def _users():
    for user in pwd.getpwall():
        with contextlib.suppress(KeyError):
            if user.pw_uid and grp.getgrnam(user.pw_name).gr_gid == user.pw_gid:
                yield user


USER = next(_users(), pwd.getpwuid(0))


class Host:
    """A tree with what an app controls, and what it does not."""

    def __init__(self, top):
        self.top = top
        self.layout = layout.Layout("shop", str(top / "srv"), str(top / "run"))
        self.shared = top / "srv" / "shop" / "shared"
        self.log = top / "log" / "shop"
        self.release = pathlib.Path(self.layout.release("r1"))
        self.outside = top / "outside"
        for folder in (
            self.shared / "instance" / "uploads",
            self.shared / "versions",
            self.log,
            self.release / "app" / "migrations",
            self.outside / "uploads",
            top / "run",
        ):
            folder.mkdir(parents=True, mode=0o755)
        slot = pathlib.Path(self.layout.slot("blue"))
        slot.parent.mkdir()
        slot.symlink_to(self.release)
        for name in ("access.log", "app.log"):
            (self.log / name).write_text("{}\n")
        (self.shared / "instance" / "x.css").write_text("a {}\n")
        (self.shared / "versions" / "1.py").write_text("def upgrade(): pass\n")
        (self.release / "app" / "migrations" / "env.py").touch()
        for name in ("access.log", "app.log", "x.css", "1.py", "evenkeel-shop.lock"):
            (self.outside / name).write_text("secret\n")
        for folder in (self.shared, self.log):
            for path in [folder, *folder.rglob("*")]:
                os.chown(path, USER.pw_uid, USER.pw_gid)

    def slots(self):
        now = [0.0]

        def sleep(seconds):
            now[0] += seconds

        slots = release_slots.Slots(
            self.layout,
            plan.HostState(),
            log_directory=str(self.log),
            clock=lambda: now[0],
            sleep=sleep,
        )
        slots.stop = lambda *_step, drain: None
        return slots

    def watch(self):
        return bake_watch.BakeMonitor(
            release="r1", against="r0", directory=str(self.log), health_path="/health",
            health=lambda: None, unit=lambda: {"ActiveState": "active"}, workers=dict, warm_workers=dict,
            max_slowdown=2,
        ).problems(0)  # fmt: skip

    def make(self, path, *below):
        owner = app_directories.Owner.find(USER.pw_name)
        return app_directories.make(str(path), below, owner)

    def wanted(self, shared):
        return stage.ReleaseSpec(
            layout=self.layout, release_id="r2", version="", archive="", wheels="", digest="", python="",
            user=USER.pw_name, entry="", files={}, environment={}, shared=shared, start_timeout=1,
        )  # fmt: skip

    def publish(self):
        path = str(self.shared / "instance" / "x.css")
        version = archive.hashlib.sha256(b"secret\n").hexdigest()[:16]
        listed = [{"url": "/static/x.css", "path": path, "version": version}]
        static.publish(self.layout, str(self.release), listed)

    def migrations(self):
        """Somebody shares the folder of the migrations, which then is a link in the release."""
        link = self.release / "app" / "migrations" / "versions"
        link.symlink_to(self.shared / "versions")
        scripts.scripts(str(self.release / "app"))

    def share(self):
        """Of two shared paths one lies in the other, which is a link to the app's folder by then."""
        stage._link_shared_paths(self.wanted(("instance", "instance/uploads")), str(self.release))


# Path below the tree, how many of its last components the app can replace, and what root does there.
ACCESSES = {
    "bake: requests": ("log/shop/access.log", 1, Host.watch),
    "bake: log of the app": ("log/shop/app.log", 1, Host.watch),
    "start: size of the log": ("log/shop/access.log", 1, lambda host: host.slots()._log_size()),
    "start: line of an answer": (
        "log/shop/access.log", 1, lambda host: host.slots()._await_line("blue", 0),
    ),
    "start: reason of a failure": (
        "log/shop/app.log", 1, lambda host: host.slots()._last_error("blue", "r1"),
    ),
    "lock": (
        "run/evenkeel-shop.lock", 1,
        lambda host: lock.acquire_for(lock.path("shop", str(host.top / "run")), RUN, 60, False),
    ),
    "lock: check mode": (
        "run/evenkeel-shop.lock", 1,
        lambda host: lock.acquire_for(lock.path("shop", str(host.top / "run")), RUN, 60, True),
    ),
    "site: directory below shared": (
        "srv/shop/shared/instance/uploads", 2, lambda host: host.make(host.shared, "instance/uploads"),
    ),
    "site: logs below shared": (
        "srv/shop/shared/instance/uploads", 2,
        lambda host: host.make(host.shared / "instance" / "uploads"),
    ),
    "stage: static file that the app names": ("srv/shop/shared/instance/x.css", 2, Host.publish),
    "stage: link below a shared folder": ("srv/shop/shared/instance/uploads", 2, Host.share),
    "migrations: shared scripts": ("srv/shop/shared/versions/1.py", 2, Host.migrations),
}  # fmt: skip
# Root does not even look there.
MAY_END_WELL = {
    ("stage: link below a shared folder", "instance"),
    ("stage: link below a shared folder", "uploads"),
    ("migrations: shared scripts", "versions"),
}
HOW = ["link", "link to a directory", "device", "fifo", "socket", "directory", "file"]


def replace(place, how, outside):
    """Put something in the place of a file or directory, as the app can."""
    was_directory = place.is_dir()
    if place.exists():
        place.rename(place.with_name("moved"))
    if how == "link":
        same = outside / place.name
        place.symlink_to(same if same.exists() else outside)
    elif how == "link to a directory":
        place.symlink_to(outside)
    elif how == "device":
        place.symlink_to("/dev/zero")
    elif how == "fifo":
        os.mkfifo(place)
    elif how == "socket":
        # A path of a socket has at most 108 bytes.
        folder = os.open(place.parent, os.O_RDONLY)
        with socket.socket(socket.AF_UNIX) as sock:
            sock.bind(f"/proc/self/fd/{folder}/{place.name}")
        os.close(folder)
    elif how == "directory":
        place.mkdir()
    else:
        place.write_text("")
    os.lchown(place, USER.pw_uid, USER.pw_gid)
    # Whether it is still what was expected there.
    return how == ("directory" if was_directory else "file")


def seen(folder):
    found = {}
    for path in [folder, *sorted(folder.rglob("*"))]:
        at = path.lstat()
        content = path.read_bytes() if path.is_file() else b""
        found[str(path)] = (at.st_mode, at.st_uid, at.st_gid, at.st_ino, content)
    return found


def in_time(act):
    """The message that an action ended with, or None; it must end."""
    reader, writer = multiprocessing.Pipe(duplex=False)

    def work():
        try:
            said = act()
            text = str(said) if isinstance(said, (str, list)) else None
        except Exception as error:
            text = f"{type(error).__name__}: {error}"
        writer.send(text)

    process = multiprocessing.get_context("fork").Process(target=work)
    process.start()
    try:
        assert reader.poll(SECONDS), "it did not end"
        return reader.recv()
    finally:
        process.kill()
        process.join()


def rows():
    for name, (path, depth, act) in ACCESSES.items():
        parts = path.split("/")
        for last in range(len(parts) - depth, len(parts)):
            yield pytest.param(name, "/".join(parts[: last + 1]), act, id=f"{name}: {parts[last]}")


@needs_root
@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize(("name", "component", "act"), list(rows()))
def test_root_ends_with_a_message_and_changes_nothing_outside_whatever_the_app_put_there(
    tmp_path, name, component, act, how
):
    host = Host(tmp_path)
    is_expected = replace(tmp_path / component, how, host.outside)
    before = seen(host.outside)
    said = in_time(lambda: act(host))
    assert seen(host.outside) == before
    if not is_expected and (name, os.path.basename(component)) not in MAY_END_WELL:
        assert said, "it ended well"
        assert "Traceback" not in said
        # What is told is where to look, and never what a file elsewhere holds.
        assert "secret" not in said
        assert str(tmp_path) in said


@needs_root
def test_the_table_is_of_accesses_that_work_where_the_app_put_nothing(tmp_path):
    for number, (name, (_path, _depth, act)) in enumerate(ACCESSES.items()):
        if name.startswith(("start: line", "stage: static", "migrations")):
            # They are refused as they are: nothing was logged, and root does not read there.
            continue
        host = Host(tmp_path / str(number))
        assert not (in_time(lambda act=act, host=host: act(host)) or "").startswith("Untrusted")


# Files with calls that touch the file system directly, and why the app has no part in it.
OWN = {
    "_migrations/alembic.py": "scripts of a release",
    "_system/app_directories.py": "the way itself",
    "_artifact/archive.py": "archives and releases, root's alone",
    "_balancer/plan.py": "its lock goes through the way",
    "_balancer/nginx.py": "the balancer's configuration",
    "_build/pipeline.py": "the controller",
    "_release/drift.py": "releases, units and left.json, root's alone",
    "_release/guards.py": "/proc, a bounded number of processes and descriptors",
    "_release/lock.py": "its lock goes through the way",
    "_migrations/scripts.py": "releases; what leads out is refused",
    "_front/config.py": "the configuration of nginx, root's alone",
    "_front/processes.py": "/proc, 64 bytes of a title",
    "_front/site.py": "the configuration and the error log of nginx, root's alone",
    "_system/process.py": "/proc, a variable of the processes that a command left",
    "_system/procfs.py": "/proc, sizes are the kernel's; names of processes of 15 characters",
    "_build/requirements.py": "the controller",
    "_release/sandbox.py": "units",
    "_profile/connections.py": "/proc",
    "_release/slots.py": "links, history and releases, root's alone",
    "_build/source.py": "the controller",
    "_release/stage.py": "releases and archives, root's alone",
    "_release/static.py": "releases and static, root's alone",
    "_release/unit.py": "units",
    "_system/untrusted.py": "the way itself",
    "_artifact/venv.py": "venvs, root's alone",
    "_profile/syscalls.py": "/proc, at most 32 KiB of the memory of a worker",
    "_bake/watch.py": "its logs go through the way",
    "_artifact/wheel.py": "wheels and venvs, root's alone",
    "_profile/workers.py": "/proc",
    "balancer.py": "the balancer's configuration",
    "nginx_site.py": "the logs of nginx, root's alone",
    "endpoint_profile.py": "env of a release",
    "release_archive.py": "the controller",
    "release_exec.py": "whether a release is there",
    "release_info.py": "whether releases is there",
}
TOUCHES = {
    "open",
    "mkdir",
    "makedirs",
    "walk",
    "scandir",
    "listdir",
    "chown",
    "lchown",
    "chmod",
    "unlink",
    "remove",
}
TOUCHES |= {
    "rename",
    "replace",
    "symlink",
    "link",
    "rmtree",
    "copyfile",
    "copytree",
    "truncate",
    "iglob",
}
OF = {"os", "shutil", "glob", "tarfile", "zipfile"}


def touches(source):
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            name = node.func
            if isinstance(name, ast.Name) and name.id == "open":
                yield node.lineno
            is_of_a_module = isinstance(name, ast.Attribute) and isinstance(name.value, ast.Name)
            if is_of_a_module and name.value.id in OF and name.attr in TOUCHES:
                yield node.lineno


@pytest.mark.parametrize("folder", ["module_utils", "modules"])
def test_code_that_touches_files_has_a_place_in_the_table(folder):
    top = COLLECTION / "plugins" / folder
    found = {
        path.relative_to(top).as_posix()
        for path in top.rglob("*.py")
        if list(touches(path.read_text(encoding="utf-8")))
    }
    assert found - set(OWN) == set()


def test_the_table_names_files_that_are_there():
    tops = [COLLECTION / "plugins" / folder for folder in ("module_utils", "modules")]
    assert [file for file in OWN if not any((top / file).exists() for top in tops)] == []


def tasks(found):
    for task in found or ():
        yield task
        for part in ("block", "rescue", "always", "tasks", "pre_tasks", "post_tasks"):
            yield from tasks(task.get(part))


def test_no_task_acts_as_root_where_the_app_writes():
    files = [*COLLECTION.glob("roles/*/tasks/*.yml"), *COLLECTION.glob("roles/*/handlers/*.yml")]
    files += COLLECTION.glob("playbooks/*.yml")
    for path in files:
        for task in tasks(yaml.safe_load(path.read_text(encoding="utf-8"))):
            for module, arguments in task.items():
                if module.startswith("ansible.builtin.") and isinstance(arguments, dict):
                    places = json.dumps(
                        [arguments.get(name) for name in ("path", "dest", "src", "cmd", "argv")]
                    )
                    assert "/shared" not in places, (path, task)
                    assert "logging_directory" not in places, (path, task)
