# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The archive: the same content gives the same bytes, and nothing leaves the release."""

from __future__ import annotations

import io
import os
import tarfile

import pytest
from ansible_collections.evenkeel.flask.plugins.module_utils._artifact import (
    archive as artifact_archive,
)
from ansible_collections.evenkeel.flask.plugins.module_utils._artifact.archive import Manifest
from ansible_collections.evenkeel.flask.plugins.module_utils._errors import ArchiveError
from ansible_collections.evenkeel.flask.plugins.module_utils._system import envfile
from hypothesis import given
from hypothesis import strategies as st

MANIFEST = Manifest("shop", "1.0", "cp311", "d" * 64, "shop-1.wheels.tar")


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "content"
    (root / "app" / "pkg").mkdir(parents=True)
    (root / "app" / "pkg" / "__init__.py").write_text("x = 1\n")
    (root / "app" / "run.sh").write_text("#!/bin/sh\n")
    (root / "app" / "run.sh").chmod(0o755)
    os.symlink("pkg/__init__.py", root / "app" / "link.py")
    return root


def test_same_content_gives_the_same_bytes(folder, tmp_path):
    one, two = str(tmp_path / "one.tar"), str(tmp_path / "two.tar")
    artifact_archive.write(one, str(folder), MANIFEST)
    os.utime(folder / "app" / "run.sh", (1, 1))
    (folder / "app" / "pkg" / "__init__.py").chmod(0o600)
    artifact_archive.write(two, str(folder), MANIFEST)
    assert artifact_archive.file_digest(one) == artifact_archive.file_digest(two)


def test_what_was_packed_is_unpacked(folder, tmp_path):
    archive, target = str(tmp_path / "a.tar"), tmp_path / "out"
    artifact_archive.write(archive, str(folder), MANIFEST)
    target.mkdir()
    artifact_archive.unpack(archive, str(target))
    assert artifact_archive.tree_digest(str(target / "app")) == artifact_archive.tree_digest(
        str(folder / "app")
    )
    assert Manifest.read(archive) == MANIFEST


@pytest.mark.parametrize(
    ("name", "kind", "target", "why"),
    [
        ("app/x.py", "file", "", None),
        ("app/link", "link", "pkg/x.py", None),
        ("app/pkg/link", "link", "../x.py", None),
        ("/etc/passwd", "file", "", "leaves the release"),
        ("app/../../x", "file", "", "leaves the release"),
        ("app/link", "link", "/etc/passwd", "points out of the release"),
        ("app/link", "link", "../../etc", "points out of the release"),
        ("app/pipe", "other", "", "neither file"),
        ("./app/x.py", "file", "", "is not a normalized name"),
        ("app//x.py", "file", "", "is not a normalized name"),
        ("app/./x.py", "file", "", "is not a normalized name"),
        (".", "dir", "", "is not a normalized name"),
        ("app/x\0y", "file", "", "is not a normalized name"),
    ],
)
def test_members_that_leave_the_release_are_refused(name, kind, target, why):
    said = artifact_archive.reject_reason(name, kind, target)
    assert said is None if why is None else why in said


def member(name, kind=tarfile.REGTYPE, target=""):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


@pytest.mark.parametrize(
    "members",
    [
        [member("../evil")],
        [member("/evil")],
        [member("app/device", tarfile.CHRTYPE)],
        [member("app/hard", tarfile.LNKTYPE, "/etc/passwd")],
        [member("dir", tarfile.SYMTYPE, "app"), member("dir/evil")],
    ],
)
def test_unpacking_a_hostile_archive_writes_nothing(members, tmp_path):
    archive, target = tmp_path / "evil.tar", tmp_path / "out"
    with tarfile.open(archive, "w") as tar:
        tar.addfile(member("app/good"), io.BytesIO(b""))
        for info in members:
            tar.addfile(info, io.BytesIO(b""))
    target.mkdir()
    with pytest.raises(ArchiveError, match="was refused"):
        artifact_archive.unpack(str(archive), str(target))
    assert list(target.iterdir()) == []


# A link is judged by the way that the kernel goes, and not by its text.
TREE = [("a", "dir", ""), ("a/b", "dir", ""), ("a/l", "link", "b"), ("a/f", "file", "")]


@pytest.mark.parametrize(
    ("members", "why"),
    [
        ([("a/m", "link", "b")], None),
        ([("a/m", "link", "l")], None),
        ([("a/m", "link", "../a/b/../f")], None),
        ([("a/m", "link", "gone/x")], None),
        ([("a/b/m", "link", "../..")], None),
        ([("a/m", "link", "l/x")], "through the symbolic link a/l"),
        ([("a/m", "link", "l/..")], "through the symbolic link a/l"),
        ([("a/m", "link", "f/../b")], "a/f is not a directory of it"),
        ([("a/m", "link", "gone/../b")], "a/gone is not a directory of it"),
        ([("a/l/x", "file", "")], "lies behind a symbolic link, a/l"),
        ([("a/f/x", "file", "")], "lies behind a file, a/f"),
        ([("a/f", "file", "")], "is in it twice"),
        ([("a/m", "link", "b"), ("a/m", "file", "")], "is in it twice"),
    ],
)
def test_members_are_judged_together(members, why):
    said = artifact_archive.check_members([*TREE, *members])
    assert said is None if why is None else why in said


NAMES = st.lists(st.sampled_from(["a", "b", "c", ".", "..", ""]), min_size=1, max_size=4).map(
    "/".join
)
MEMBERS = st.lists(
    st.tuples(NAMES, st.sampled_from(["file", "dir", "link", "hard"]), NAMES), max_size=6
)
TYPES = {
    "file": tarfile.REGTYPE,
    "dir": tarfile.DIRTYPE,
    "link": tarfile.SYMTYPE,
    "hard": tarfile.LNKTYPE,
}


def everything(folder):
    return {
        os.path.join(place, name): os.lstat(os.path.join(place, name)).st_mode
        for place, folders, files in os.walk(folder)
        for name in folders + files
    }


@pytest.mark.parametrize("has_filter", [True, False])
@given(members=MEMBERS)
def test_nothing_outside_the_folder_changes_whatever_an_archive_holds(
    tmp_path_factory, has_filter, members
):
    """Python before 3.9.17, 3.10.12 and 3.11.4 has no filter of its own (PEP 706)."""
    top = tmp_path_factory.mktemp("top")
    archive, folder = top / "x.tar", top / "deep" / "er" / "release"
    for place in (folder, top / "a", top / "b", top / "deep" / "c"):
        place.mkdir(parents=True)
    with tarfile.open(archive, "w") as tar:
        for name, kind, target in members:
            tar.addfile(member(name, TYPES[kind], target), io.BytesIO(b""))
    before = everything(top)
    with pytest.MonkeyPatch.context() as patch:
        if not has_filter:
            patch.delattr(tarfile, "data_filter", raising=False)
        try:
            artifact_archive.unpack(str(archive), str(folder))
        except ArchiveError:
            assert list(folder.iterdir()) == []
    after = everything(top)
    inside = f"{folder}{os.sep}"
    assert {path: mode for path, mode in after.items() if not path.startswith(inside)} == before
    for path in after:
        if path.startswith(inside):
            assert (os.path.realpath(path) + os.sep).startswith(inside)


def test_what_lies_in_the_folder_already_is_neither_followed_nor_replaced(tmp_path):
    archive, folder, outside = tmp_path / "x.tar", tmp_path / "out", tmp_path / "outside"
    folder.mkdir()
    outside.mkdir()
    (folder / "link").symlink_to(outside)
    (folder / "file").symlink_to(outside / "new")
    for name in ("link/evil", "file"):
        with tarfile.open(archive, "w") as tar:
            tar.addfile(member(name), io.BytesIO(b""))
        with pytest.raises(ArchiveError, match=r"cannot be unpacked|was refused"):
            artifact_archive.unpack(str(archive), str(folder))
    assert list(outside.iterdir()) == []


@pytest.mark.parametrize("how", ["gz", "sparse"])
def test_an_archive_takes_up_no_more_than_its_own_size(tmp_path, how):
    archive = tmp_path / "x.tar"
    if how == "gz":
        with tarfile.open(archive, "w:gz") as tar:
            tar.addfile(member("x"), io.BytesIO(b""))
    else:
        sparse = member("x", tarfile.GNUTYPE_SPARSE)
        with tarfile.open(archive, "w", format=tarfile.GNU_FORMAT) as tar:
            tar.addfile(sparse)
    with pytest.raises(ArchiveError):
        artifact_archive.unpack(str(archive), str(tmp_path / "out"))


def test_something_else_than_an_archive_is_named(tmp_path):
    path = tmp_path / "x.tar"
    path.write_text("no tar")
    with pytest.raises(ArchiveError, match=r"x\.tar is not an archive of this collection"):
        Manifest.read(str(path))


@pytest.mark.parametrize(
    ("wheel", "line"),
    [
        ("Flask-3.1.3-py3-none-any.whl", "flask==3.1.3 --hash=sha256:00"),
        ("ruamel.yaml-0.18.6-py3-none-any.whl", "ruamel-yaml==0.18.6 --hash=sha256:00"),
        ("my_app-1.0+local-py3-none-any.whl", "my-app==1.0+local --hash=sha256:00"),
    ],
)
def test_lock_names_the_very_wheel(wheel, line):
    assert artifact_archive.lock_line(wheel, "00") == line


def test_environment_values_come_through_systemd_as_they_are():
    values = {"A": 'say "hi"', "B": r"back\slash", "C": "$HOME `id`"}
    assert envfile.environment_file(values) == (
        'A="say \\"hi\\""\nB="back\\\\slash"\nC="\\$HOME \\`id\\`"\n'
    )


@pytest.mark.parametrize("name", ["1A", "A-B", "", "A=B"])
def test_a_name_no_environment_takes_is_refused(name):
    with pytest.raises(ArchiveError, match="is no name for an environment variable"):
        envfile.environment_file({name: "x"})
