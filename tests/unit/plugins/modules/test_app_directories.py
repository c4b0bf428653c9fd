# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Root creates the app's directories, and changes nothing outside them, regardless of the app's files."""

from __future__ import annotations

import contextlib
import grp
import os
import pwd
import stat

import pytest
from ansible_collections.evenkeel.flask.plugins.module_utils._system import (
    app_directories as system_app_directories,
)
from ansible_collections.evenkeel.flask.plugins.modules import app_directories
from ansible_collections.evenkeel.flask.tests.unit.plugins.run_module import run_module

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root works for another user")
BELOW = ["instance", "var/uploads", "data/shop.db"]


def _users():
    for user in pwd.getpwall():
        with contextlib.suppress(KeyError):
            if user.pw_uid and grp.getgrnam(user.pw_name).gr_gid == user.pw_gid:
                yield user


USER = next(_users(), pwd.getpwuid(0))


@pytest.fixture(name="shared")
def _shared(tmp_path):
    """The path of the directory: in a directory of root, like /srv/<app>."""
    (tmp_path / "shop").mkdir(mode=0o755)
    return tmp_path / "shop" / "shared"


@pytest.fixture(name="outside")
def _outside(tmp_path):
    """The paths that no run can change: a directory of root, and one of the app's user."""
    for name in ("roots", "apps"):
        (tmp_path / name / "uploads").mkdir(parents=True, mode=0o755)
        (tmp_path / name / "file").write_text("as it was")
    os.chown(tmp_path / "apps", USER.pw_uid, USER.pw_gid)
    os.chown(tmp_path / "apps" / "uploads", USER.pw_uid, USER.pw_gid)
    return tmp_path


def make(shared, check_mode=False, below=tuple(BELOW)):
    return run_module(
        app_directories, check_mode, path=str(shared), user=USER.pw_name, below=list(below)
    )


def seen(*folders):
    """Return all paths below some directories: type, owner, mode and content, without access times."""
    found = {}
    for top in folders:
        for path in [top, *sorted(top.rglob("*"))]:
            at = path.lstat()
            target = os.readlink(path) if path.is_symlink() else None
            found[str(path)] = (at.st_mode, at.st_uid, at.st_gid, at.st_ino, target)
    return found


def apps(path, **how):
    """Put something there as the app would."""
    if "link" in how:
        os.symlink(how["link"], path)
    elif how.get("fifo"):
        os.mkfifo(path)
    elif "hard" in how:
        os.link(how["hard"], path)
        return
    else:
        path.write_text("")
    os.lchown(path, USER.pw_uid, USER.pw_gid)


def owned(path):
    found = path.stat()
    return (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode))


@needs_root
def test_the_directories_are_the_apps_and_a_second_run_changes_nothing(shared):
    foreseen = make(shared, check_mode=True)
    assert not shared.exists()
    made = make(shared)
    assert (made["changed"], foreseen["changed"]) == (True, True)
    mine = (USER.pw_uid, USER.pw_gid, 0o750)
    for path in ("", "instance", "var", "var/uploads", "data"):
        assert owned(shared / path) == mine
    # A file is for the app to make.
    assert not (shared / "data" / "shop.db").exists()
    for check_mode in (True, False):
        assert make(shared, check_mode)["changed"] is False


@needs_root
def test_check_mode_foresees_what_is_done_next(shared):
    make(shared, below=["instance"])
    (shared / "instance").chmod(0o700)
    foreseen = make(shared, check_mode=True)["changes"]
    assert foreseen == [
        f"set the mode of {shared}/instance to 0750",
        f"create {shared}/var",
        f"create {shared}/var/uploads",
        f"create {shared}/data",
    ]
    assert make(shared)["changes"] == foreseen
    assert owned(shared / "instance")[2] == 0o750


@needs_root
@pytest.mark.parametrize("check_mode", [False, True])
@pytest.mark.parametrize("component", ["instance", "var", "var/uploads", "data", "data/shop.db"])
@pytest.mark.parametrize(
    ("how", "word"),
    [
        ({"link": "../../roots"}, "symbolic link"),
        ({"link": "../../apps"}, "symbolic link"),
        ({"link": "/dev/zero"}, "symbolic link"),
        ({"link": "/"}, "symbolic link"),
        ({"link": "nowhere"}, "symbolic link"),
        ({"link": "/proc/self/root"}, "symbolic link"),
        ({"fifo": True}, "FIFO"),
        ({"file": True}, "regular file"),
    ],
)
def test_what_the_app_puts_in_the_place_of_a_directory_is_named_and_nothing_outside_changes(
    shared, outside, component, how, word, check_mode
):
    make(shared, below=[])
    place = shared / component
    for parent in reversed(place.relative_to(shared).parents[:-1]):
        (shared / parent).mkdir(mode=0o750)
        os.chown(shared / parent, USER.pw_uid, USER.pw_gid)
    apps(place, **how)
    before = seen(outside / "roots", outside / "apps")
    result = make(shared, check_mode)
    assert seen(outside / "roots", outside / "apps") == before
    if how == {"file": True} and component.endswith("shop.db"):
        assert not result.get("failed")
        return
    assert result["failed"] is True
    assert f"{place} is a {word}" in result["msg"]


@needs_root
@pytest.mark.parametrize("path", ["", "instance"])
def test_a_directory_of_somebody_else_is_not_taken_over_where_the_app_could_have_put_it(
    shared, path
):
    make(shared, below=[])
    theirs = shared / "logs" / path
    theirs.mkdir(parents=True)
    result = make(shared / "logs", below=["instance"])
    assert f"{shared}/logs belongs to root and not to {USER.pw_name}" in result["msg"]
    assert owned(shared / "logs")[:2] == (0, 0)


@needs_root
def test_a_directory_below_one_of_the_apps_is_made_without_roots_rights(shared, outside):
    """The directory of the logs may be named below shared."""
    make(shared, below=[])
    assert make(shared / "logs", below=[])["changed"] is True
    assert owned(shared / "logs") == (USER.pw_uid, USER.pw_gid, 0o750)
    (shared / "logs").rmdir()
    apps(shared / "logs", link="../../roots")
    before = seen(outside / "roots")
    assert f"{shared}/logs is a symbolic link" in make(shared / "logs", below=[])["msg"]
    assert seen(outside / "roots") == before


@needs_root
def test_shared_may_be_a_link_of_root_to_a_data_disk(shared, tmp_path):
    (tmp_path / "disk").mkdir(mode=0o755)
    shared.symlink_to(tmp_path / "disk")
    assert make(shared)["changed"] is True
    assert owned(tmp_path / "disk" / "var" / "uploads") == (USER.pw_uid, USER.pw_gid, 0o750)
    assert shared.is_symlink()
    assert make(shared)["changed"] is False


@needs_root
def test_a_link_in_the_place_of_shared_that_root_did_not_make_is_refused(shared, outside):
    apps(shared, link=str(outside / "roots"))
    before = seen(outside / "roots")
    assert f"{shared} is a symbolic link to {outside}/roots" in make(shared)["msg"]
    assert seen(outside / "roots") == before


@needs_root
def test_a_directory_that_an_earlier_version_made_of_a_file_is_told(shared):
    make(shared, below=["app.db/"])

    def warnings():
        owner = system_app_directories.Owner.find(USER.pw_name)
        outcome = system_app_directories.make(str(shared), ["app.db"], owner)
        assert outcome.changes == []
        return outcome.warnings

    assert [f"rmdir {shared}/app.db" in warning for warning in warnings()] == [True]
    (shared / "app.db" / "in use").touch()
    assert warnings() == []


@needs_root
def test_a_file_system_that_never_answers_is_not_waited_for(shared, monkeypatch):
    monkeypatch.setattr(system_app_directories, "CHILD_SECONDS", 0.2)
    monkeypatch.setattr(
        system_app_directories, "_make_below", lambda *_about: os.read(os.pipe()[0], 1)
    )
    assert "were not made within 0.2 s" in make(shared)["msg"]


@pytest.mark.parametrize(
    ("path", "word"),
    [
        ("/etc", "leaves the source"),
        ("../x", "leaves the source"),
        ("a/../../x", "leaves the source"),
        ("", "is the source itself"),
        (".", "is the source itself"),
        ("a\nb", "leaves the source"),
    ],
)
def test_a_path_that_leaves_the_directory_is_refused_before_anything_is_made(shared, path, word):
    assert word in make(shared, below=[path])["msg"]
    assert not shared.exists()


@pytest.mark.parametrize(
    ("path", "file"),
    [
        ("instance", False),
        ("app.db", True),
        ("data/app.db", True),
        ("uploads.d/", False),
        (".cache", False),
        ("v1.2/media", False),
    ],
)
def test_a_name_with_an_extension_is_a_file_and_one_with_a_slash_is_not(path, file):
    assert system_app_directories.is_file(path) is file


def test_a_user_that_is_not_there_is_named(shared):
    arguments = {"path": str(shared), "user": "no-such-user"}
    assert run_module(app_directories, True, **arguments)["changed"] is True
    result = run_module(app_directories, **arguments)
    assert "this host has no user no-such-user" in result["msg"]
