# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A release on a host: whole, or not there at all.

The proof that gunicorn loads the app needs a running systemd, and is in the molecule tests.
"""

from __future__ import annotations

import errno
import grp
import json
import os
import shutil
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.evenkeel.flask.plugins.module_utils._artifact import (
    archive as artifact_archive,
)
from ansible_collections.evenkeel.flask.plugins.module_utils._errors import ArchiveError
from ansible_collections.evenkeel.flask.plugins.module_utils._release import (
    layout as release_layout,
)
from ansible_collections.evenkeel.flask.plugins.module_utils._release import stage
from ansible_collections.evenkeel.flask.plugins.module_utils._system import process
from ansible_collections.evenkeel.flask.tests.unit.plugins.wheels import make_wheel

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files to another user")

# Any but our own, which all that we make has from the start.
GROUP = next(group for group in grp.getgrall() if group.gr_gid != os.getgid())
SECRET = "hunter2"
# The part of a slot's unit that says where and as whom; all of it is in _release/test_unit.py.
UNIT = """\
[Service]
User=shop
WorkingDirectory=/srv/shop/slots/%i/app
EnvironmentFile=/srv/shop/slots/%i/env
ProtectSystem=strict
"""


class Proof:
    """The run of gunicorn that stands at the end: what it was, and what it shall say."""

    def __init__(self) -> None:
        self.runs: list[tuple[Any, ...]] = []
        self.says: tuple[int, str] = (0, 'evenkeel: {"forkable": false}')

    def __call__(self, folder: str, *args: Any) -> tuple[int, str]:
        # It is proven where it cannot be taken for a release yet.
        assert os.path.basename(folder).startswith(".")
        self.runs.append((folder, *args))
        return self.says


@pytest.fixture(name="proof")
def _proof(monkeypatch):
    proof = Proof()
    monkeypatch.setattr(stage, "run_in", proof)
    return proof


@pytest.fixture(name="content")
def _content(tmp_path):
    """What is packed: an app that is a project too."""
    folder = tmp_path / "content"
    for name in ("app/instance", "lib"):
        (folder / name).mkdir(parents=True)
    (folder / "app" / "shop.py").write_text("app = object()\n")
    (folder / "app" / "instance" / "shop.db").touch()
    (folder / "lib" / "shop.py").write_text("app = object()\n")
    return folder


@pytest.fixture(name="wheels")
def _wheels(tmp_path, content):
    """The wheels, one of them locked."""
    folder = tmp_path / "of-wheels" / "wheels"
    folder.mkdir(parents=True)
    make_wheel(folder, "unlocked")
    tiny = make_wheel(folder, "tiny")
    lock = artifact_archive.lock_line(tiny.name, artifact_archive.file_digest(str(tiny)))
    (content / artifact_archive.LOCK).write_text(f"{lock}\n")
    return folder


@pytest.fixture(name="wanted")
def _wanted(tmp_path, content, wheels, proof):
    layout = release_layout.Layout("shop", str(tmp_path / "srv"))
    for name in ("releases", "venvs"):
        os.makedirs(layout.path(name))
    return stage.ReleaseSpec(
        layout=layout,
        release_id="1.0-a",
        version="1.0",
        archive=pack(content, tmp_path),
        wheels=pack_wheels(wheels, tmp_path),
        digest="d",
        python=sys.executable,
        user=GROUP.gr_name,
        entry="shop:app",
        files={"gunicorn.conf.py": "workers = 5\n"},
        environment={"TOKEN": SECRET},
        shared=("instance", "media/uploads"),
        start_timeout=7.0,
    )


def pack(content, place, name="shop.tar"):
    archive = str(place / name)
    manifest = artifact_archive.Manifest("shop", "1.0", "cp311", "d", "shop.wheels.tar")
    artifact_archive.write(archive, str(content), manifest)
    return archive


def pack_wheels(wheels, place):
    archive = str(place / "shop.wheels.tar")
    artifact_archive.write(archive, str(wheels.parent))
    return archive


def staged(wanted):
    stage.stage(wanted)
    return Path(wanted.layout.release(wanted.release_id))


def releases(wanted):
    return os.listdir(wanted.layout.path("releases"))


@pytest.mark.parametrize(
    "shared",
    [
        ("instance", "instance/uploads"),
        ("instance/uploads", "instance"),
        ("instance/", ".//instance"),
    ],
)
def test_a_path_below_a_shared_one_is_reached_through_its_link(wanted, tmp_path, shared):
    folder = Path(wanted.layout.path("shared", "instance"))
    folder.mkdir(parents=True)
    (tmp_path / "r" / "app").mkdir(parents=True)
    stage._link_shared_paths(replace(wanted, shared=shared), str(tmp_path / "r"))
    assert os.readlink(tmp_path / "r" / "app" / "instance") == str(folder)
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("there/uploads", "lies behind app/there, which is a symbolic link of the source"),
        ("shop.py/uploads", "lies behind app/shop.py, which is a file of the source"),
        ("../x", "leaves the source"),
        (".", "is the source itself"),
    ],
)
def test_a_shared_path_that_is_elsewhere_is_refused(wanted, tmp_path, path, why):
    app = tmp_path / "r" / "app"
    app.mkdir(parents=True)
    (app / "there").symlink_to("instance")
    (app / "shop.py").touch()
    with pytest.raises(ArchiveError, match=f"flask_app_shared_paths: .*{why}"):
        stage._link_shared_paths(replace(wanted, shared=("instance", path)), str(tmp_path / "r"))
    assert not Path(wanted.layout.path("shared")).exists()


@pytest.mark.parametrize(
    "told",
    ["[]", "{}", '{"forkable": 1}', '{"forkable": true, "static": [{"url": "/x"}]}', "[" * 10000,
     '{"forkable": true, "measures": [["a"]]}', '{"forkable": true, "static": 7}', "{",
     '{"forkable": true, "static": [{"url": 1, "path": "/x", "version": "0"}]}'],
)  # fmt: skip
def test_what_an_app_prints_in_our_name_is_believed_only_in_its_form(told):
    assert stage.report(f"{stage.MARK}{told}\n") is None


@needs_root
class TestStage:
    def test_a_release_is_all_that_the_app_needs(self, wanted):
        release = staged(wanted)
        assert releases(wanted) == ["1.0-a"]
        assert sorted(os.listdir(release)) == [
            "app",
            "archive.json",
            "config",
            "env",
            "lib",
            "optimizations.json",
            "release.json",
            "requirements.lock",
            "static.json",
            "venv",
        ]
        assert (release / "app" / "shop.py").exists()
        assert (release / "lib" / "shop.py").exists()
        assert list(release.glob("venv/lib/*/site-packages/tiny.py"))
        assert (release / "config" / "gunicorn.conf.py").read_text() == "workers = 5\n"
        assert json.loads((release / "release.json").read_text()) == {
            "archive": "shop.tar",
            "digest": "d",
            "entry": "shop:app",
            "release_id": "1.0-a",
            "version": "1.0",
            "wheels": "shop.wheels.tar",
        }
        assert (release / "app" / "__pycache__").is_dir()
        assert (release / "lib" / "__pycache__").is_dir()

    def test_its_app_is_proven_by_its_own_gunicorn_as_its_user_before_it_is_there(
        self, wanted, proof
    ):
        staged(wanted)
        ((folder, user, layout, command, timeout),) = proof.runs
        assert (user, layout, timeout) == (GROUP.gr_name, wanted.layout, 7.0)
        assert command == [f"{folder}/venv/bin/python", f"{folder}/config/evenkeel_preload.py"]

    @pytest.mark.parametrize("forkable", [True, False])
    def test_it_is_marked_where_its_workers_may_be_forked_from_one_that_loaded_it(
        self, wanted, proof, forkable
    ):
        proof.says = (0, f'hello\nevenkeel: {{"forkable": {json.dumps(forkable)}}}\n')
        assert (staged(wanted) / "preload").exists() is forkable

    def test_it_knows_what_became_of_each_measure(self, wanted, proof):
        measures = [{"measure": "json", "state": "applied", "detail": "orjson"}]
        told = {"forkable": True, "measures": measures}
        proof.says = (0, f"evenkeel: {json.dumps(told)}\n")
        assert stage.optimizations(str(staged(wanted))) == measures

    def test_nothing_is_known_of_a_release_that_was_made_before(self, tmp_path):
        assert stage.optimizations(str(tmp_path)) == []

    def test_nobody_but_the_apps_user_reads_its_secrets(self, wanted):
        release = staged(wanted)
        assert (release / "env").read_text() == f'TOKEN="{SECRET}"\n'
        modes = {"": 0o750, "env": 0o640, "config/gunicorn.conf.py": 0o640}
        for path, mode in modes.items():
            found = (release / path).stat()
            assert (found.st_uid, found.st_gid) == (0, GROUP.gr_gid)
            assert stat.S_IMODE(found.st_mode) == mode

    def test_what_the_app_keeps_is_outside_of_the_release(self, wanted):
        release = staged(wanted)
        kept = {
            f"{place}/{path}": os.readlink(release / place / path)
            for place in ("app", "lib")
            for path in wanted.shared
        }
        assert kept == {
            "app/instance": wanted.layout.path("shared", "instance"),
            "app/media/uploads": wanted.layout.path("shared", "media/uploads"),
            "lib/instance": wanted.layout.path("shared", "instance"),
            "lib/media/uploads": wanted.layout.path("shared", "media/uploads"),
        }

    def test_a_file_may_be_shared_and_root_does_not_compile_what_the_app_puts_there(self, wanted):
        shared = Path(wanted.layout.path("shared"))
        shared.mkdir()
        os.mkfifo(shared / "shop.py")
        release = staged(replace(wanted, shared=("shop.py", "new/app.db")))
        assert os.readlink(release / "app" / "shop.py") == str(shared / "shop.py")
        assert os.readlink(release / "app" / "new" / "app.db") == str(shared / "new/app.db")

    @pytest.mark.parametrize("name", ["archive", "wheels"])
    def test_an_archive_that_is_not_the_one_that_was_built_is_refused_and_removed(
        self, wanted, name
    ):
        path = getattr(wanted, name)
        digests = {
            f"{one}_sha256": artifact_archive.file_digest(getattr(wanted, one))
            for one in ("archive", "wheels")
        }
        with open(path, "r+b") as stream:
            stream.seek(-1, os.SEEK_END)
            stream.write(b"x")
        with pytest.raises(
            stage.ReplacedError, match="was not the archive that was built: its SHA-256 is"
        ):
            stage.stage(replace(wanted, **digests))
        assert not os.path.exists(path)
        assert releases(wanted) == []
        assert os.listdir(wanted.layout.path("venvs")) == []

    def test_archives_that_are_those_that_were_built_are_unpacked(self, wanted):
        digests = {
            f"{one}_sha256": artifact_archive.file_digest(getattr(wanted, one))
            for one in ("archive", "wheels")
        }
        assert staged(replace(wanted, **digests)).is_dir()

    def test_an_app_that_prints_something_in_our_name_is_named_and_not_released(
        self, wanted, proof
    ):
        proof.says = (0, "evenkeel: []\n")
        with pytest.raises(ArchiveError, match=r"shop:app cannot be loaded: evenkeel: \[\]"):
            stage.stage(wanted)
        assert releases(wanted) == []

    def test_releases_with_the_same_lock_share_a_venv(self, wanted):
        first = staged(wanted)
        (first / "venv" / "mark").touch()
        second = staged(replace(wanted, release_id="2.0-b"))
        assert (second / "venv" / "mark").exists()
        assert (first / "venv").resolve() == (second / "venv").resolve()

    def test_a_host_that_has_the_venv_needs_no_wheels(self, wanted):
        staged(wanted)
        os.unlink(wanted.wheels)
        assert (staged(replace(wanted, release_id="2.0-b")) / "venv" / "bin").is_dir()

    def test_a_release_that_was_cut_off_is_made_anew(self, wanted):
        half = Path(wanted.layout.release(".1.0-a"))
        half.mkdir()
        (half / "leftover").touch()
        assert not (staged(wanted) / "leftover").exists()
        assert releases(wanted) == ["1.0-a"]

    def test_an_app_of_requirements_alone_has_a_place_to_run_in(self, wanted, content, tmp_path):
        for path in (content / "app" / "instance" / "shop.db", content / "app" / "shop.py"):
            path.unlink()
        (content / "app" / "instance").rmdir()
        (content / "app").rmdir()
        assert (staged(replace(wanted, archive=pack(content, tmp_path))) / "app").is_dir()

    def test_lines_of_what_it_left_behind_are_not_taken_for_its_report(self, wanted, proof):
        proof.says = (0, 'evenkeel: {"forkable": true}\nBroken pipe\nevenkeel: not this\n')
        assert (staged(wanted) / "preload").exists()

    @pytest.mark.parametrize(
        ("error", "remedy"),
        [
            ("OSError: [Errno 30] Read-only file system: 'X/app/logs/a'", "flask_app_shared_paths"),
            ("MemoryError", "MemoryDenyWriteExecute=no"),
            (
                "FileNotFoundError: [Errno 2] No such file or directory: '/proc/meminfo'",
                "ProcSubset=all",
            ),
        ],
    )
    def test_an_app_that_the_sandbox_breaks_is_told_what_to_change(
        self, wanted, proof, error, remedy
    ):
        proof.says = (1, error.replace("X", wanted.layout.release(".1.0-a")))
        with pytest.raises(ArchiveError, match=f"Nothing was released; .*{remedy}"):
            stage.stage(wanted)

    def test_an_app_that_cannot_be_loaded_leaves_nothing(self, wanted, proof):
        proof.says = (1, "Traceback (most recent call last):\nKeyError: 'TOKEN'\n")
        with pytest.raises(
            ArchiveError, match=r"flask_app_entry: shop:app cannot be loaded: KeyError: 'TOKEN'\."
        ):
            stage.stage(wanted)
        assert releases(wanted) == []


class TestRefused:
    """What is refused leaves nothing behind, and says why."""

    def test_another_archive_than_the_one_that_was_built(self, wanted):
        with pytest.raises(ArchiveError, match=r"shop\.tar is not the archive that was built"):
            stage.stage(replace(wanted, digest="e"))
        assert releases(wanted) == []

    def test_an_archive_that_would_write_elsewhere(self, wanted, content, tmp_path):
        (content / "app" / "link").symlink_to("/etc")
        archive = pack(content, tmp_path)
        with pytest.raises(ArchiveError, match="link points out of the release, to /etc"):
            stage.stage(replace(wanted, archive=archive))
        assert releases(wanted) == []

    @pytest.mark.parametrize("script", [None, "#!/bin/sh\necho 'no such version'\nexit 1\n"])
    def test_a_python_that_does_not_run(self, wanted, tmp_path, script):
        python = tmp_path / "python3"
        if script:
            python.write_text(script)
            python.chmod(0o755)
        with pytest.raises(
            ArchiveError, match=f"flask_app_python: {python} does not run: [Nn]o such"
        ):
            stage.stage(replace(wanted, python=str(python)))
        assert releases(wanted) == []

    def test_wheels_that_do_not_install(self, wanted, wheels, tmp_path):
        (wheels / "tiny-1.0-py3-none-any.whl").unlink()
        with pytest.raises(ArchiveError, match=r"wheels do not install: .* tiny"):
            stage.stage(replace(wanted, wheels=pack_wheels(wheels, tmp_path)))
        assert releases(wanted) == []

    def test_a_user_that_is_not_there(self, wanted):
        with pytest.raises(ArchiveError, match=r"no user nosuchuser\. Run the playbook evenkeel"):
            stage.stage(replace(wanted, user="nosuchuser"))
        assert releases(wanted) == []

    def test_a_variable_that_no_environment_takes(self, wanted):
        with pytest.raises(ArchiveError, match="'A-B' in flask_app_env"):
            stage.stage(replace(wanted, environment={"A-B": "1"}))
        assert releases(wanted) == []


class TestKeepArchive:
    def test_a_new_one_is_kept_for_nobody_else_to_read(self, wanted, tmp_path):
        os.mkdir(wanted.layout.path("archives"))
        kept = stage.store_archive(wanted.layout, "/cache/shop.tar", str(tmp_path))
        assert kept == wanted.layout.path("archives", "shop.tar")
        assert Path(kept).read_bytes() == Path(wanted.archive).read_bytes()
        assert stat.S_IMODE(os.stat(kept).st_mode) == 0o600

    def test_no_half_of_one_stays_on_a_disk_that_is_full(self, wanted, tmp_path, monkeypatch):
        archives = Path(wanted.layout.path("archives"))
        archives.mkdir()

        def copyfile(source, target):
            Path(target).write_bytes(b"half")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), target)

        monkeypatch.setattr(shutil, "copyfile", copyfile)
        with pytest.raises(OSError, match="No space left"):
            stage.store_archive(wanted.layout, "/cache/shop.tar", str(tmp_path))
        assert list(archives.iterdir()) == []

    @pytest.mark.parametrize("uploads", [None, "/nowhere"])
    def test_one_that_is_kept_already_was_not_copied_again(self, wanted, uploads):
        os.mkdir(wanted.layout.path("archives"))
        kept = wanted.layout.path("archives", "shop.tar")
        assert stage.store_archive(wanted.layout, "/cache/shop.tar", uploads) == kept
        assert not os.path.exists(kept)

    def test_a_host_that_was_never_set_up_is_told(self, tmp_path):
        layout = release_layout.Layout("shop", str(tmp_path / "elsewhere"))
        with pytest.raises(ArchiveError, match=r"never set up for shop: run the playbook evenkeel"):
            stage.store_archive(layout, "/cache/shop.tar", None)


def test_what_it_looks_for_is_what_the_app_s_own_process_says():
    path = Path(__file__).parents[5] / "roles" / "gunicorn" / "files" / "evenkeel_preload.py"
    assert f'MARK = "{stage.MARK}"' in path.read_text()


@pytest.mark.usefixtures("wheels")
class TestVenvName:
    def test_the_same_lock_and_interpreter_have_one_name(self, content):
        assert stage.venv_name(sys.executable, str(content)) == stage.venv_name(
            sys.executable, str(content)
        )

    def test_another_lock_has_another(self, content):
        name = stage.venv_name(sys.executable, str(content))
        (content / artifact_archive.LOCK).write_text("flask==3.1.3 --hash=sha256:00\n")
        assert stage.venv_name(sys.executable, str(content)) != name

    def test_another_version_of_the_interpreter_has_another(self, content, tmp_path):
        names = set()
        for version in ("3.11.2", "3.11.3"):
            python = tmp_path / "python3"
            python.write_text(f"#!/bin/sh\necho {version} {python}\n")
            python.chmod(0o755)
            names.add(stage.venv_name(str(python), str(content)))
        assert len(names) == 2


class TestRunIn:
    @pytest.fixture
    def ran(self, monkeypatch):
        """What was run, of all that systemd-run would do."""
        ran = []
        main = {"shown": "ExecMainCode=1\nExecMainStatus=3\n"}
        monkeypatch.setattr(self, "main", main, raising=False)

        def run(command, *_args, **_options):
            if "cat" in command:
                return subprocess.CompletedProcess(command, 0, UNIT)
            if command[0] == "systemctl":
                return subprocess.CompletedProcess(command, 0, main["shown"])
            ran.append(command)
            return subprocess.CompletedProcess(command, 3, "it said no\n")

        monkeypatch.setattr(process, "run", run)
        return ran

    def test_systemd_ends_a_command_that_takes_too_long(self, ran):
        layout = release_layout.Layout("shop")
        done = stage.run_in("/srv/shop/releases/a", "web", layout, ["flask"], timeout=0.0)
        assert done == (3, "it was not done within 0 s")
        assert "--property=RuntimeMaxSec=0" in ran[0]

    def test_the_status_of_the_main_process_counts_and_not_what_became_of_the_rest(self, ran):
        self.main["shown"] = "ExecMainCode=1\nExecMainStatus=0\n"
        done = stage.run_in("/srv/shop/releases/a", "web", release_layout.Layout("shop"), ["flask"])
        assert done == (0, "it said no\n")

    @pytest.mark.parametrize("shown", ["ExecMainCode=2\nExecMainStatus=9\n", ""])
    def test_a_main_process_that_was_killed_has_failed(self, ran, shown):
        self.main["shown"] = shown
        done = stage.run_in("/srv/shop/releases/a", "web", release_layout.Layout("shop"), ["flask"])
        assert done == (3, "it said no\n")

    def test_a_command_may_take_as_long_as_it_likes_where_nothing_is_said(self, ran):
        stage.run_in("/srv/shop/releases/a", "web", release_layout.Layout("shop"), ["flask"])
        assert not [option for option in ran[0] if "RuntimeMaxSec" in option]

    @pytest.mark.parametrize(
        ("raised", "message"),
        [
            (FileNotFoundError(2, "No such file"), r"^systemd-run cannot be run: No such file\.$"),
            (
                subprocess.TimeoutExpired("x", 1),
                r"did not end this command within 70 s, and it was",
            ),
        ],
    )
    def test_a_systemd_that_fails_is_named_and_leaves_no_command(
        self, monkeypatch, raised, message
    ):
        ran = []

        def run(command, *_args, **options):
            ran.append((command[:2], options.get("timeout")))
            if command[0] == "systemd-run":
                raise raised
            return subprocess.CompletedProcess(command, 0, UNIT)

        monkeypatch.setattr(process, "run", run)
        layout = release_layout.Layout("shop")
        with pytest.raises(ArchiveError, match=message):
            stage.run_in("/srv/shop/releases/a", "web", layout, ["flask"], timeout=10.0)
        assert (["systemd-run", "--wait"], 10 + stage.END_SECONDS) in ran
        is_killed = ["systemctl", "kill"] in [command for command, _timeout in ran]
        assert is_killed == isinstance(raised, subprocess.TimeoutExpired)

    def test_a_command_may_take_longer_than_any_other_program(self, monkeypatch):
        """A migration's own limit counts, and not the one for what is stuck."""
        seen = []

        def run(command, *_args, **options):
            seen.append(options.get("timeout") or 0)
            return subprocess.CompletedProcess(command, 0, UNIT)

        monkeypatch.setattr(process, "run", run)
        stage.run_in("/srv/shop/releases/a", "web", release_layout.Layout("shop"), ["x"], 10_000.0)
        assert max(seen) > 10_000

    def test_a_command_runs_as_the_app_in_its_release(self, ran):
        layout = release_layout.Layout("shop")
        done = stage.run_in("/srv/shop/releases/a", "web", layout, ["flask", "db", "upgrade"])
        assert done == (3, "it said no\n")
        (command,) = ran
        separator = command.index("--")
        assert command[separator:] == ["--", "/usr/bin/env", "flask", "db", "upgrade"]
        properties = [arg.partition("=")[2] for arg in command if arg.startswith("--property=")]
        assert set(properties) >= {
            "WorkingDirectory=/srv/shop/releases/a/app",
            "EnvironmentFile=/srv/shop/releases/a/env",
            "ProtectSystem=strict",
        }
        # Of two, the later one counts.
        assert [item for item in properties if item.startswith("User=")] == [
            "User=shop",
            "User=web",
        ]
        (path,) = (item for item in properties if item.startswith("Environment=PATH="))
        assert path.startswith("Environment=PATH=/srv/shop/releases/a/venv/bin:")
