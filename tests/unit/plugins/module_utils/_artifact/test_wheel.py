# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Wheels are verified against the lock, and installed as pip does, without any of their code."""

from __future__ import annotations

import csv
import os
import random
import stat
import subprocess
import sys
import zipfile

import pytest
from ansible_collections.evenkeel.flask.plugins.module_utils._artifact import (
    archive as artifact_archive,
)
from ansible_collections.evenkeel.flask.plugins.module_utils._artifact import (
    wheel as artifact_wheel,
)
from ansible_collections.evenkeel.flask.plugins.module_utils._errors import ArchiveError
from ansible_collections.evenkeel.flask.tests.unit.plugins.wheels import make_wheel
from hypothesis import given, settings
from hypothesis import strategies as st

PYTHON = f"python{sys.version_info.major}.{sys.version_info.minor}"


def lock(folder, *wheels):
    path = folder / artifact_archive.LOCK
    lines = [
        artifact_archive.lock_line(it.name, artifact_archive.file_digest(str(it))) for it in wheels
    ]
    path.write_text("".join(f"{line}\n" for line in lines))
    return str(path)


@pytest.fixture(name="venv")
def _venv(tmp_path):
    """The files of C(python -m venv), created faster."""
    venv = tmp_path / "venv"
    (venv / "lib" / PYTHON / "site-packages").mkdir(parents=True)
    (venv / "bin").mkdir()
    (venv / "bin" / "python").symlink_to(sys.executable)
    (venv / "bin" / "activate").write_text("activate\n")
    (venv / "pyvenv.cfg").write_text(f"home = {os.path.dirname(sys.executable)}\n")
    (venv / "lib64").symlink_to("lib")
    return venv


def snapshot(folder):
    return {
        str(path.relative_to(folder)): os.readlink(path) if path.is_symlink() else path.read_bytes()
        for path in folder.rglob("*")
        if path.is_symlink() or path.is_file()
    }


class TestLock:
    """Every wheel that a host installs has the SHA-256 of its line in the lock."""

    @given(st.data())
    @settings(max_examples=25, deadline=None)
    def test_any_changed_byte_of_any_wheel_is_refused(self, tmp_path_factory, data):
        folder = tmp_path_factory.mktemp("wheels")
        wheels = [make_wheel(folder, name) for name in ("one", "two_three", "four")]
        path = lock(folder, *wheels)
        assert len(artifact_wheel.locked(str(folder), path)) == 3
        changed = data.draw(st.sampled_from(wheels))
        content = bytearray(changed.read_bytes())
        content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
        changed.write_bytes(content)
        name = changed.name.split("-")[0].replace("_", "-")
        with pytest.raises(ArchiveError, match=rf"no wheel of {name}==1\.0 has the locked SHA-256"):
            artifact_wheel.locked(str(folder), path)

    def test_all_that_are_missing_are_named(self, tmp_path):
        wheels = [make_wheel(tmp_path, name) for name in ("one", "two", "three")]
        path = lock(tmp_path, *wheels)
        wheels[0].unlink()
        wheels[2].rename(tmp_path / "four-1.0-py3-none-any.whl")
        with pytest.raises(ArchiveError, match=r"no wheel of one==1\.0, three==1\.0 has"):
            artifact_wheel.locked(str(tmp_path), path)

    def test_a_wheel_that_the_lock_does_not_name_is_not_installed(self, tmp_path):
        named, _other = make_wheel(tmp_path, "one"), make_wheel(tmp_path, "pip")
        assert artifact_wheel.locked(str(tmp_path), lock(tmp_path, named)) == [str(named)]


class TestInstall:
    def test_each_part_of_a_wheel_lies_where_python_looks_for_it(self, tmp_path, venv):
        wheel = make_wheel(
            tmp_path,
            "shop",
            files={
                "shop.py": "def main():\n    print('sold')\n",
                "shop-1.0.data/purelib/pure.py": "",
                "shop-1.0.data/platlib/plat.py": "",
                "shop-1.0.data/scripts/tool": "#!python\nimport shop; shop.main()\n",
                "shop-1.0.data/scripts/other.sh": "#!/bin/sh\necho sold\n",
                "shop-1.0.data/headers/shop.h": "",
                "shop-1.0.data/data/share/shop.conf": "",
                "shop-1.0.dist-info/entry_points.txt": "[console_scripts]\nshop = shop:main [extra]\n"
                "Shop.Two=shop:main\n[other]\nx = not an entry\n",
            },
        )
        artifact_wheel.install([str(wheel)], str(venv))
        site = venv / "lib" / PYTHON / "site-packages"
        about = site / "shop-1.0.dist-info"
        for path in (
            site / "shop.py",
            site / "pure.py",
            site / "plat.py",
            venv / "include" / "site" / PYTHON / "shop" / "shop.h",
            venv / "share" / "shop.conf",
            about / "METADATA",
        ):
            assert path.is_file()
            assert stat.S_IMODE(path.stat().st_mode) == 0o644
        for program in ("shop", "Shop.Two", "tool", "other.sh"):
            # The wheel does not contain the files that Python writes on import.
            environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
            output = subprocess.check_output([venv / "bin" / program], text=True, env=environment)
            assert output == "sold\n"
        with (about / "RECORD").open(newline="") as stream:
            recorded = {row[0] for row in csv.reader(stream)}
        own = {"bin/python", "bin/activate", "pyvenv.cfg", "lib64"}
        found = {path for path in snapshot(venv) if path not in own}
        assert {os.path.normpath(site / path) for path in recorded} == {
            str(venv / path) for path in found
        }

    def test_a_program_starts_from_a_path_that_no_shebang_can_name(self, tmp_path):
        place = tmp_path / "with a space" / ("long" * 40)
        (place / "lib" / PYTHON / "site-packages").mkdir(parents=True)
        (place / "bin").mkdir()
        (place / "bin" / "python").symlink_to(sys.executable)
        (place / "pyvenv.cfg").write_text(f"home = {os.path.dirname(sys.executable)}\n")
        entries = {"shop-1.0.dist-info/entry_points.txt": "[console_scripts]\nshop = shop:main\n"}
        code = {"shop.py": "def main():\n    print('sold')\n"}
        artifact_wheel.install(
            [str(make_wheel(tmp_path, "shop", files={**code, **entries}))], str(place)
        )
        assert subprocess.check_output([place / "bin" / "shop"], text=True) == "sold\n"

    @pytest.mark.parametrize(
        "member",
        [
            "../evil.py",
            "/tmp/evil.py",
            "a/../../evil.py",
            "..\\evil.py",
            "shop-1.0.data/data/bin/python",
            "shop-1.0.data/data/pyvenv.cfg",
            "shop-1.0.data/data/lib64",
            "shop-1.0.data/scripts/python",
            "shop-1.0.data/scripts/activate",
            "shop-1.0.data/scripts/../../evil",
            "shop-1.0.data/nowhere/evil",
            "shop-1.0.data/purelib/",
        ],
    )
    def test_no_member_leaves_the_venv_or_replaces_what_it_is_made_of(self, tmp_path, venv, member):
        # A directory entry alone writes nothing.
        name = f"{member}x/../evil" if member.endswith("/") else member
        wheel = make_wheel(tmp_path, "shop", files={name: "evil"})
        before = snapshot(tmp_path)
        with pytest.raises(ArchiveError, match="is not a valid wheel"):
            artifact_wheel.install([str(wheel)], str(venv))
        after = snapshot(tmp_path)
        assert {path: after[path] for path in before} == before
        assert "evil" not in {path.name for path in tmp_path.rglob("*")}

    @pytest.mark.parametrize(
        ("entry", "message"),
        [
            ("../evil = shop:main", "its entry point ../evil = shop:main cannot be read"),
            ("shop = shop:main; import os", "cannot be read"),
            ("shop = shop", "cannot be read"),
            ("python = shop:main", "it would replace bin/python"),
        ],
    )
    def test_no_entry_point_does_either(self, tmp_path, venv, entry, message):
        entries = {"shop-1.0.dist-info/entry_points.txt": f"[console_scripts]\n{entry}\n"}
        wheel = make_wheel(tmp_path, "shop", files=entries)
        with pytest.raises(ArchiveError, match=message):
            artifact_wheel.install([str(wheel)], str(venv))

    def test_a_symbolic_link_in_a_wheel_is_a_file_with_its_text(self, tmp_path, venv):
        wheel = make_wheel(tmp_path, "shop")
        info = zipfile.ZipInfo("link")
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        with zipfile.ZipFile(wheel, "a") as archive:
            archive.writestr(info, "/etc/passwd")
        artifact_wheel.install([str(wheel)], str(venv))
        link = venv / "lib" / PYTHON / "site-packages" / "link"
        assert not link.is_symlink()
        assert link.read_text() == "/etc/passwd"

    @pytest.mark.parametrize("content", [b"", b"PK\3\4", b"no zip"])
    def test_what_is_no_wheel_is_named(self, tmp_path, venv, content):
        wheel = tmp_path / "shop-1.0-py3-none-any.whl"
        wheel.write_bytes(content)
        with pytest.raises(
            ArchiveError, match=r"^shop-1\.0-py3-none-any\.whl is not a valid wheel: File is not"
        ):
            artifact_wheel.install([str(wheel)], str(venv))

    @pytest.mark.parametrize(
        "names",
        [
            pytest.param(["shop", "shop/__init__.py"], id="a directory in the place of a file"),
            pytest.param(["shop/__init__.py", "shop"], id="a file in the place of a directory"),
            pytest.param(["x" * 300], id="a name that no file system takes"),
        ],
    )
    def test_a_wheel_whose_names_cannot_be_files_is_named(self, tmp_path, venv, names):
        wheel = make_wheel(tmp_path, "shop", files=dict.fromkeys(names, ""))
        with pytest.raises(
            ArchiveError, match=r"^shop-1\.0-py3-none-any\.whl is not a valid wheel"
        ):
            artifact_wheel.install([str(wheel)], str(venv))

    @pytest.mark.parametrize(
        ("at", "changed"),
        [
            pytest.param(6, b"\1\0", id="encrypted"),
            pytest.param(8, b"\x09\0", id="an unknown compression"),
            pytest.param(8, b"\x08\0", id="not what deflate writes"),
            pytest.param(8, b"\x0e\0", id="not what LZMA writes"),
        ],
    )
    def test_a_wheel_that_cannot_be_decompressed_is_named(self, tmp_path, venv, at, changed):
        wheel = make_wheel(tmp_path, "shop", files={"shop.py": "x = 1\n" * 9})
        data = bytearray(wheel.read_bytes())
        # Flags and method are in the header of the file and in the directory at the end.
        directory = data.index(b"PK\1\2")
        data[at : at + 2] = data[directory + at + 2 : directory + at + 4] = changed
        wheel.write_bytes(data)
        with pytest.raises(
            ArchiveError, match=r"^shop-1\.0-py3-none-any\.whl is not a valid wheel"
        ):
            artifact_wheel.install([str(wheel)], str(venv))

    @pytest.mark.parametrize("name", ["./shop.py", ".//shop.py", "x//shop.py", "x/./shop.py"])
    def test_a_path_that_is_not_normalized_means_the_same_as_with_pip(self, tmp_path, venv, name):
        wheel = make_wheel(tmp_path, "shop", files={name: "x"})
        artifact_wheel.install([str(wheel)], str(venv))
        assert (venv / "lib" / PYTHON / "site-packages" / name).read_text() == "x"

    @pytest.mark.parametrize(
        ("mode", "expected"),
        [
            (stat.S_IFREG | 0o755, 0o755),
            (stat.S_IFREG | 0o710, 0o755),
            (stat.S_IFREG | 0o600, 0o644),
            (0o755, 0o644),
            (0, 0o644),
        ],
    )
    def test_what_is_executable_is_as_with_pip(self, tmp_path, venv, mode, expected):
        wheel = make_wheel(tmp_path, "shop")
        info = zipfile.ZipInfo("shop.sh")
        info.external_attr = mode << 16
        with zipfile.ZipFile(wheel, "a") as archive:
            archive.writestr(info, "")
        artifact_wheel.install([str(wheel)], str(venv))
        found = venv / "lib" / PYTHON / "site-packages" / "shop.sh"
        assert stat.S_IMODE(found.stat().st_mode) == expected

    def test_a_format_that_is_not_known_is_refused(self, tmp_path, venv):
        wheel = make_wheel(tmp_path, "shop", files={})
        with zipfile.ZipFile(wheel, "w") as archive:
            archive.writestr("shop-1.0.dist-info/WHEEL", "Wheel-Version: 2.0\n")
        with pytest.raises(ArchiveError, match="its format is 2"):
            artifact_wheel.install([str(wheel)], str(venv))

    def test_of_two_wheels_with_the_same_file_the_first_by_name_decides_as_with_pip(
        self, tmp_path, venv
    ):
        wheels = [
            make_wheel(tmp_path, name, files={"tests/__init__.py": name}) for name in ("b", "a")
        ]
        random.shuffle(wheels)
        artifact_wheel.install(
            artifact_wheel.locked(str(tmp_path), lock(tmp_path, *wheels)), str(venv)
        )
        both = venv / "lib" / PYTHON / "site-packages" / "tests" / "__init__.py"
        assert both.read_text() == "a"


def test_the_app_itself_is_installed_flat_and_without_programs(tmp_path):
    wheel = make_wheel(
        tmp_path,
        "shop",
        files={
            "shop.py": "",
            "shop-1.0.data/scripts/tool": "#!python\n",
            "shop-1.0.data/data/share/x": "",
            "shop-1.0.dist-info/entry_points.txt": "[console_scripts]\nshop = shop:main\n",
        },
    )
    lib = tmp_path / "lib"
    artifact_wheel.install_flat(str(wheel), str(lib))
    files = {path for path in snapshot(lib) if ".dist-info/" not in path}
    assert files == {"shop.py", "share/x"}


@pytest.mark.slow
def test_the_result_is_pip_s(tmp_path):
    """Any difference from pip but the programs' text is a fault: apps were tried with what pip leaves."""
    wheels = [
        make_wheel(
            tmp_path,
            "shop",
            files={
                "shop/__init__.py": "",
                "shop-1.0.data/purelib/pure.py": "",
                "shop-1.0.data/scripts/tool": "#!python\n",
                "shop-1.0.data/headers/shop.h": "",
                "shop-1.0.data/data/share/shop.conf": "",
                "shop-1.0.dist-info/entry_points.txt": "[console_scripts]\nshop = shop:main\n",
            },
        ),
        make_wheel(tmp_path, "a", files={"shop/__init__.py": "a"}),
    ]
    found = []
    for name in ("ours", "pips"):
        venv = tmp_path / name / "venv"
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", venv], check=True)
        if name == "ours":
            artifact_wheel.install(
                artifact_wheel.locked(str(tmp_path), lock(tmp_path, *wheels)), str(venv)
            )
        else:
            options = ["--no-index", "--no-deps", "--no-compile", "--quiet", "--no-cache-dir"]
            pip = [sys.executable, "-m", "pip", "--python", venv / "bin" / "python", "install"]
            subprocess.run([*pip, *options, *wheels], check=True)
        differs = ("INSTALLER", "REQUESTED", "direct_url.json", "RECORD", "bin/shop", "pyvenv.cfg")
        files = {
            path: content.replace(str(venv).encode(), b"/venv")
            for path, content in snapshot(venv).items()
            if isinstance(content, bytes) and not path.endswith(differs)
        }
        found.append(files)
        assert (venv / "bin" / "shop").stat().st_mode & 0o111
    assert found[0] == found[1]
