# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The build: same input, same archive. It reports all errors in the input before it contacts a host.

pip is a fake with wheels made by hand; venvs and imports are real.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from ansible_collections.evenkeel.flask.plugins.module_utils._build import pipeline
from ansible_collections.evenkeel.flask.plugins.module_utils._artifact import archive as artifact_archive
from ansible_collections.evenkeel.flask.plugins.module_utils._system import process
from ansible_collections.evenkeel.flask.plugins.module_utils._errors import ArchiveError
from ansible_collections.evenkeel.flask.plugins.module_utils._build.pipeline import Recipe, Target
from ansible_collections.evenkeel.flask.plugins.module_utils._preflight import host
from ansible_collections.evenkeel.flask.tests.unit.plugins.wheels import make_wheel

ELSEWHERE = Target("3.9.2", "cp39", "x86_64", "glibc-2.31")
run = process.run
# A project that names its build requirements, and the pip requests that follow.
NAMED = 'requires = ["setuptools>=68"]'
INSTALL = ["--python", "install", "setuptools>=68"]
BY_KEPT = ["--python", "wheel", "--no-build-isolation"]


class Pip:
    """A fake pip of the controller: it delivers the wheels on its shelf and records its arguments."""

    def __init__(self, shelf: Path) -> None:
        self.shelf = shelf
        self.asked: list[list[str]] = []
        self.folders: list[str | None] = []
        self.paths: list[str] = []
        self.refusal = ""
        self.refuses = ""
        shelf.mkdir()
        make_wheel(shelf, "flask")

    def __call__(self, command, environment=None, folder=None, timeout=None):
        if list(command[1:3]) != ["-m", "pip"]:
            return run(command, environment, folder, timeout)
        self.asked.append(list(command[5:]))
        self.folders.append(folder)
        self.paths.append((environment or os.environ)["PATH"])
        if self.refuses in command:
            return subprocess.CompletedProcess(command, 1, f"ERROR: no {self.refuses}")
        for option in ("--dest", "--wheel-dir"):
            if option in command:
                self.give(list(command), Path(command[command.index(option) + 1]))
        return subprocess.CompletedProcess(command, bool(self.refusal), self.refusal)

    def give(self, command, place):
        place.mkdir(exist_ok=True)
        if place.name == "own":
            # As a build backend does, it writes in the tree it builds from, and never twice the same.
            Path(command[command.index("--wheel-dir") + 2], "build").write_text("left behind")
            make_wheel(place, "shop", "2.0", {"shop.py": "", "time": str(len(self.asked))})
        else:
            wheels = [arg for arg in command if arg.endswith(".whl")]
            for wheel in [*self.shelf.iterdir(), *wheels]:
                shutil.copy(wheel, place)


@pytest.fixture(name="pip", autouse=True)
def _pip(tmp_path, monkeypatch):
    pip = Pip(tmp_path / "shelf")
    monkeypatch.setattr(process, "run", pip)
    return pip


@pytest.fixture(name="source")
def _source(tmp_path):
    folder = tmp_path / "source"
    (folder / "static").mkdir(parents=True)
    (folder / "shop.py").write_text("app = object()\n")
    (folder / "static" / "shop.css").write_text("\n")
    (folder / "run.sh").write_text("#!/bin/sh\n")
    (folder / "requirements.txt").write_text("flask\n")
    return folder


@pytest.fixture(name="recipe")
def _recipe(source):
    return Recipe("shop", "shop:app", ELSEWHERE, str(source), runtime=("gunicorn",))


@pytest.fixture(name="cache")
def _cache(tmp_path):
    return tmp_path / "cache"


@pytest.fixture(name="build")
def _do_build(cache):
    """Build, and return the archive and whether it was not there yet."""

    def build(recipe, **environment):
        archive, _manifest, built = pipeline.build(recipe, str(cache), environment)
        return archive, built

    return build


def packed(archive):
    with tarfile.open(archive) as tar:
        return {member.name for member in tar.getmembers() if not member.isdir()}


def text_of(archive, name):
    with tarfile.open(archive) as tar:
        member = tar.extractfile(name)
        assert member
        return member.read().decode()


def wheels_of(archive):
    return Path(archive).with_name(artifact_archive.Manifest.read(archive).wheels)


def digest(archive):
    return artifact_archive.Manifest.read(archive).digest


def project(source, requires=""):
    (source / "pyproject.toml").write_text(
        f'[project]\nname = "shop"\nversion = "2.0"\n[build-system]\n{requires}\n'
    )
    return source


class TestUnchangedInput:
    def test_nothing_is_built_twice(self, build, recipe, pip):
        archive, built = build(recipe)
        asked = len(pip.asked)
        assert built
        assert build(recipe) == (archive, False)
        assert len(pip.asked) == asked

    def test_where_and_when_it_was_checked_out_does_not_matter(
        self, build, recipe, source, tmp_path
    ):
        archive, _built = build(recipe)
        elsewhere = shutil.copytree(source, tmp_path / "elsewhere")
        os.utime(elsewhere / "shop.py", (1, 1))
        assert build(replace(recipe, source=str(elsewhere))) == (archive, False)

    def test_where_the_requirements_file_lies_does_not_matter(
        self, build, recipe, source, tmp_path
    ):
        copy = tmp_path / "copy.txt"
        shutil.copy(source / "requirements.txt", copy)
        archive, _built = build(replace(recipe, requirements_file=f"{source}/requirements.txt"))
        assert build(replace(recipe, requirements_file=str(copy))) == (archive, False)

    @pytest.mark.parametrize(
        "path",
        [
            ".git/HEAD",
            ".venv/bin/python",
            "venv/pyvenv.cfg",
            "__pycache__/shop.cpython-311.pyc",
            "static/.DS_Store",
            "node_modules/x/index.js",
            "instance/shop.db",
            "shop.egg-info/PKG-INFO",
            ".env",
        ],
    )
    def test_what_a_work_tree_holds_that_is_not_the_app_is_left_out(
        self, build, recipe, source, path
    ):
        archive, _built = build(recipe)
        (source / path).parent.mkdir(parents=True, exist_ok=True)
        (source / path).write_text("x")
        assert build(recipe) == (archive, False)
        assert f"app/{path}" not in packed(archive)

    @pytest.mark.parametrize("path", ["shop/instance/__init__.py", "shop/venv/__init__.py"])
    def test_a_package_of_the_app_is_no_left_over_whatever_it_is_called(
        self, build, recipe, source, path
    ):
        (source / path).parent.mkdir(parents=True)
        (source / path).write_text("x")
        assert f"app/{path}" in packed(build(recipe)[0])

    def test_the_apps_environment_is_neither_input_nor_kept(self, build, recipe):
        archive, _built = build(recipe, TOKEN="hunter2")
        assert build(recipe, TOKEN="another") == (archive, False)
        assert b"hunter2" not in Path(archive).read_bytes()


class TestWheels:
    """A change of code changes no dependency, and queries no index."""

    def test_they_are_kept_while_only_code_changes(self, build, recipe, source, pip):
        archive, _built = build(recipe)
        asked = len(pip.asked)
        (source / "shop.py").write_text("app = 2\n")
        another, built = build(recipe)
        assert built
        assert another != archive
        assert len(pip.asked) == asked
        assert text_of(another, "requirements.lock") == text_of(archive, "requirements.lock")

    def test_a_project_s_own_wheel_is_made_anew(self, build, recipe, source, pip):
        project(source)
        build(recipe)
        asked = len(pip.asked)
        (source / "shop.py").write_text("app = 2\n")
        build(recipe)
        assert [args[0] for args in pip.asked[asked:]] == ["wheel"]

    @pytest.mark.parametrize(
        "change",
        [
            {"requirements": ("flask", "redis")},
            {"runtime": ("gunicorn>=23",)},
            {"pip_args": ("--pre",)},
            {"target": replace(ELSEWHERE, libc="glibc-2.36")},
        ],
    )
    def test_other_wishes_are_asked_for(self, build, recipe, pip, change):
        build(recipe)
        asked = len(pip.asked)
        build(replace(recipe, **change))
        assert len(pip.asked) > asked

    def test_what_the_project_requires_is_a_wish_too(self, tmp_path):
        requires = ["flask>=3", "redis; extra == 'x'"]
        wheel = make_wheel(tmp_path, "shop", requires=requires)
        assert pipeline.own_requirements(str(wheel)) == ["shop", *requires]


class TestBackend:
    """The build requirements of a project are installed once, not for each release."""

    @pytest.fixture(name="asked")
    def _asked(self, build, recipe, source, pip):
        def asked(requires=NAMED, **change):
            """Return the pip requests for the project's wheel after a change of its code."""
            project(source, requires)
            (source / "shop.py").write_text(f"app = {len(pip.asked)}\n")
            before = len(pip.asked)
            build(replace(recipe, **change))
            return [
                [args[0], *args[2:4]] if args[0] == "--python" else args[:1]
                for args in pip.asked[before:]
                if args[0] in ("--python", "wheel")
            ]

        return asked

    def test_it_is_kept_while_only_code_changes(self, asked):
        assert asked() == [INSTALL, BY_KEPT]
        assert asked() == [BY_KEPT]

    def test_the_programs_that_were_installed_are_found(self, asked, pip, cache):
        """maturin is one: its backend runs it by its name."""
        assert asked()[1] == BY_KEPT
        (venv,) = cache.glob("*.venv")
        assert pip.paths[1] == f"{venv}/bin:{os.environ['PATH']}"

    def test_another_wish_is_installed(self, asked):
        asked()
        assert asked('requires = ["setuptools<80"]')[0] == ["--python", "install", "setuptools<80"]
        assert asked(pip_args=("--pre",))[0] == INSTALL

    def test_half_of_it_is_not_kept(self, asked, pip):
        pip.refuses = "install"
        assert asked() == [INSTALL, ["wheel"]]
        pip.refuses = ""
        assert asked() == [INSTALL, BY_KEPT]

    @pytest.mark.parametrize("url", ["file:///srv/x", "git+https://h/x@main"])
    def test_what_stands_behind_a_url_is_not_kept(self, asked, monkeypatch, url):
        monkeypatch.setattr(pipeline, "_git", lambda _words: None)
        assert asked(f'requires = ["x @ {url}"]') == [["wheel"]]

    def test_a_project_that_wants_more_than_it_names_is_built_by_pip_alone(self, asked, pip):
        asked()
        pip.refuses = "--no-build-isolation"
        assert asked() == [BY_KEPT, ["wheel"]]

    def test_what_pip_alone_finds_wrong_is_told(self, build, recipe, source, pip):
        pip.refuses = "wheel"
        with pytest.raises(ArchiveError, match="flask_app_source: no wheel"):
            build(replace(recipe, source=str(project(source, NAMED))))

    @pytest.mark.parametrize(
        "requires",
        ["", "requires = []", 'requires = "setuptools"', "requires = [68]"],
    )
    def test_pip_alone_knows_what_a_project_wants_that_names_nothing(self, asked, requires):
        assert asked(requires) == [["wheel"]]

    def test_a_pyproject_that_is_no_toml_is_told(self, asked):
        with pytest.raises(
            ArchiveError, match=r"flask_app_source: its pyproject\.toml is not TOML: Invalid value"
        ):
            asked("requires = [")

    def test_a_project_without_a_pyproject_names_nothing(self, tmp_path):
        assert pipeline.build_requires(str(tmp_path / "pyproject.toml")) == []


def written(name, text):
    return lambda source: (source / name).write_text(text)


class TestChangedInput:
    @pytest.mark.parametrize(
        "change",
        [
            written("shop.py", "app = 1\n"),
            written("new.py", ""),
            lambda source: (source / "run.sh").chmod(0o755),
            lambda source: (source / "shop.py").rename(source / "store.py"),
            lambda source: (source / "link").symlink_to("shop.py"),
        ],
    )
    def test_another_source_is_another_archive(self, build, recipe, source, change):
        archive, _built = build(recipe)
        change(source)
        assert build(recipe) != (archive, False)
        assert build(recipe)[0] != archive

    @pytest.mark.parametrize(
        "change",
        [
            {"name": "store"},
            {"entry": "shop:create_app()"},
            {"version": "3.0"},
            {"target": replace(ELSEWHERE, python_tag="cp311")},
            {"requirements": ("flask<4",)},
            {"runtime": ("gunicorn<30",)},
            {"pip_args": ("--pre",)},
        ],
    )
    def test_another_recipe_is_another_archive(self, build, recipe, change):
        assert build(recipe)[0] != build(replace(recipe, **change))[0]

    @pytest.mark.parametrize("name", ["prod.txt", "base.txt", "sub/limits.txt", "sub/more.txt"])
    def test_other_requirements_are_another_archive_in_whichever_file_they_stand(
        self, build, recipe, tmp_path, name
    ):
        (tmp_path / "sub").mkdir()
        prod = tmp_path / "prod.txt"
        prod.write_text("-r base.txt\n--constraint=sub/limits.txt  # why\nflask\n")
        (tmp_path / "base.txt").write_text("-r prod.txt\n")
        (tmp_path / "sub" / "limits.txt").write_text("  -cmore.txt\n")
        (tmp_path / "sub" / "more.txt").write_text("flask<4\n")
        recipe = replace(recipe, requirements_file=str(prod))
        archive, _built = build(recipe)
        assert build(recipe) == (archive, False)
        with (tmp_path / name).open("a") as changed:
            changed.write("redis\n")
        assert build(recipe)[0] != archive

    @pytest.mark.parametrize(
        "named", [("--constraint", "limits.txt"), ("--constraint=limits.txt",)]
    )
    def test_other_constraints_are_another_archive(self, build, recipe, source, named):
        limits = source.parent / "limits.txt"
        limits.write_text("flask<4\n")
        args = [arg.replace("limits.txt", str(limits)) for arg in named]
        recipe = replace(recipe, pip_args=tuple(args))
        archive, _built = build(recipe)
        limits.write_text("flask<3\n")
        assert build(recipe)[0] != archive

    def test_a_wheel_is_known_by_its_content(self, build, recipe, tmp_path):
        wheel = make_wheel(tmp_path, "shop", "2.0")
        recipe = replace(recipe, source=str(wheel))
        archive, _built = build(recipe)
        make_wheel(tmp_path, "shop", "2.0", {"shop.py": "app = 1\n"})
        assert build(recipe)[0] != archive


class TestArchive:
    def test_it_holds_the_source_and_the_lock_of_the_wheels_that_lie_beside_it(
        self, build, recipe, pip
    ):
        archive, _built = build(recipe)
        assert packed(archive) == {
            "app/shop.py",
            "app/static/shop.css",
            "app/run.sh",
            "app/requirements.txt",
            artifact_archive.LOCK,
            artifact_archive.MANIFEST,
        }
        assert packed(wheels_of(archive)) == {
            "wheels/flask-1.0-py3-none-any.whl",
        }
        flask = artifact_archive.file_digest(str(pip.shelf / "flask-1.0-py3-none-any.whl"))
        assert text_of(archive, artifact_archive.LOCK) == f"flask==1.0 --hash=sha256:{flask}\n"

    def test_a_project_is_in_it_installed_too_and_its_version_is_known(self, build, recipe, source):
        project(source)
        archive, _built = build(recipe)
        assert {"app/shop.py", "lib/shop.py"} <= packed(archive)
        assert "lib/bin/shop" not in packed(archive)
        assert "shop" not in text_of(archive, artifact_archive.LOCK)
        assert artifact_archive.Manifest.read(archive).version == "2.0"

    def test_building_a_project_writes_nothing_into_it(self, build, recipe, source):
        before = artifact_archive.tree_digest(str(project(source)))
        archive, _built = build(recipe)
        assert artifact_archive.tree_digest(str(source)) == before
        assert not (source / "build").exists()
        assert not {name for name in packed(archive) if "build" in name}

    def test_an_app_that_is_a_wheel_is_in_it_once(self, build, recipe, tmp_path):
        wheel = make_wheel(tmp_path, "shop", "2.0")
        archive, _built = build(replace(recipe, source=str(wheel)))
        assert {name for name in packed(archive) if name.endswith(".py")} == {"lib/shop.py"}
        assert "shop" not in text_of(archive, artifact_archive.LOCK)
        assert artifact_archive.Manifest.read(archive).version == "2.0"

    def test_an_app_may_come_from_its_requirements_alone(self, build, recipe):
        archive, _built = build(replace(recipe, source=None, requirements=("httpbin",)))
        assert not {name for name in packed(archive) if name.startswith(("app/", "lib/"))}
        assert artifact_archive.Manifest.read(archive).version == ""

    def test_a_version_that_was_given_is_the_version(self, build, recipe, source):
        project(source)
        archive, _built = build(replace(recipe, version="2026-11"))
        assert artifact_archive.Manifest.read(archive).version == "2026-11"

    def test_a_wheel_built_anew_from_the_same_source_is_the_same_release(
        self, build, recipe, source, cache
    ):
        project(source)
        first = digest(build(recipe)[0])
        shutil.rmtree(cache)
        archive, built = build(recipe)
        assert built
        assert digest(archive) == first

    def test_another_locked_wheel_is_another_release(self, build, recipe, cache, pip):
        first = digest(build(recipe)[0])
        shutil.rmtree(cache)
        make_wheel(pip.shelf, "flask", files={"flask.py": "new = 1\n"})
        assert digest(build(recipe)[0]) != first

    def test_links_within_the_source_are_kept(self, build, recipe, source):
        (source / "static" / "link").symlink_to("../shop.py")
        (source / "folder").symlink_to("static")
        with tarfile.open(build(recipe)[0]) as tar:
            links = {info.name: info.linkname for info in tar.getmembers() if info.issym()}
        assert links == {"app/static/link": "../shop.py", "app/folder": "static"}

    @pytest.mark.parametrize(
        ("link", "target"),
        [
            ("link", "/etc/passwd"),
            ("link", "../elsewhere"),
            ("static/link", "../../elsewhere"),
            ("link", "static/../.."),
        ],
    )
    def test_a_link_that_leaves_the_source_is_refused(
        self, build, recipe, source, cache, link, target
    ):
        (source / link).symlink_to(target)
        with pytest.raises(
            ArchiveError, match=f"flask_app_source: {link} points out of the release, to {target}"
        ):
            build(recipe)
        assert not cache.exists()


class TestPip:
    def test_it_runs_where_the_requirements_file_lies(self, build, recipe, source, pip):
        build(replace(recipe, requirements_file=f"{source}/requirements.txt"))
        assert set(pip.folders) == {str(source)}
        asked = [arg for args in pip.asked for arg in args if "requirement" in arg]
        assert asked == ["--requirement", f"{source}/requirements.txt"]

    def test_it_is_told_all_that_is_wanted(self, build, recipe, pip):
        build(replace(recipe, requirements=("flask", "redis"), pip_args=("--pre",)))
        assert all(asked[-1] == "--pre" for asked in pip.asked)
        # Two parties share no command line of pip.
        assert [asked[-3:] for asked in pip.asked] == [
            ["flask", "redis", "--pre"],
            [pip.asked[1][-3], "gunicorn", "--pre"],
        ]

    def test_a_controller_like_the_hosts_may_build_wheels(self, build, recipe, pip, monkeypatch):
        monkeypatch.setattr(pipeline, "_prove_entry", lambda *_args: None)
        build(replace(recipe, target=here()))
        assert pip.asked[0][0] == "wheel"
        assert "--platform" not in pip.asked[0]

    def test_another_controller_takes_only_wheels_for_the_hosts(self, build, recipe, pip):
        build(recipe)
        for asked in pip.asked:
            assert asked[0] == "download"
            assert {"--only-binary", "--platform", "manylinux_2_31_x86_64"} <= set(asked)

    @pytest.mark.parametrize(
        ("changed", "about"),
        [(lambda source: None, "flask_app_requirements"), (project, "flask_app_source")],
    )
    def test_what_it_refuses_is_told_and_nothing_is_kept(
        self, build, recipe, source, pip, cache, changed, about
    ):
        changed(source)
        pip.refusal = "ERROR: No matching distribution found for flsk\n"
        with pytest.raises(
            ArchiveError, match=f"^{about}: No matching distribution found for flsk"
        ):
            build(recipe)
        assert [path.name for path in cache.iterdir()] == ["shop.lock"]

    @pytest.mark.parametrize(
        ("output", "reason"),
        [
            ("ERROR: No matching distribution found for flsk\n", "No matching distribution found"),
            (
                "ERROR: Could not find a version that satisfies the requirement flsk (from versions: none)\n"
                "ERROR: No matching distribution found for flsk\n",
                "No matching distribution found for flsk. pip",
            ),
            (
                "ERROR: Cannot install a and b because these package versions have conflicting dependencies.\n"
                "The conflict is caused by:\n    a 1 depends on c>2\n"
                "ERROR: ResolutionImpossible: for help visit https://pip.pypa.io\n",
                "Cannot install a and b because these package versions have conflicting dependencies. "
                "The conflict is caused by: a 1 depends on c>2. pip",
            ),
            (
                "error: subprocess-exited-with-error\nERROR: Failed to build psycopg2\n",
                "Failed to build psycopg2. pip",
            ),
            (
                "  error: subprocess-exited-with-error\n  ╰─> [8 lines of output]\n"
                "      ERROR: No matching distribution found for setuptoolz\n      [end of output]\n"
                "error: subprocess-exited-with-error\n\n╰─> See above for output.\n\n"
                "note: This error originates from a subprocess, and is likely not a problem with pip.\n",
                "No matching distribution found for setuptoolz. pip",
            ),
            (
                "  ╰─> [50 lines of output]\n      Traceback (most recent call last):\n"
                "      configuration error: `project.version` must be pep440\n      [end of output]\n"
                "╰─> See above for output.\n\nnote: This error originates from a subprocess.\n",
                "configuration error: `project.version` must be pep440. pip",
            ),
            (
                "      error: command 'gcc' failed\n      [end of output]\n  note: This is from gcc.\n"
                "  ERROR: Failed building wheel for shop\nERROR: Failed to build shop\n",
                "Failed building wheel for shop (error: command 'gcc' failed). pip",
            ),
            (
                "error: invalid-pyproject-build-system-requires\n\n"
                "╰─> This package has an invalid `build-system.requires` key in pyproject.toml.\n"
                "    It contains an invalid requirement: 'setup tools'\n\n"
                "note: This is an issue with the package mentioned above, not pip.\nhint: See PEP 518.\n",
                "This package has an invalid `build-system.requires` key in pyproject.toml. "
                "It contains an invalid requirement: 'setup tools'. pip",
            ),
            (
                'ERROR: Exception:\nTraceback (most recent call last):\n  File "x.py", line 1\n'
                "ModuleNotFoundError: No module named 'setuptools.nope'\n\n",
                "ModuleNotFoundError: No module named 'setuptools.nope'. pip",
            ),
            (
                "ERROR: In --require-hashes mode, all requirements must have their versions pinned with ==. These do "
                "not:\n    gunicorn>=22 from file:///x (from -r r.txt (line 1))\n    redis from file:///y\n",
                "In --require-hashes mode, all requirements must have their versions pinned with ==. These do not: "
                "gunicorn>=22 from file:///x (from -r r.txt (line 1)); redis from file:///y. pip",
            ),
            (
                "ERROR: Hashes are missing from:\n"
                + "".join(f"    p{number}\n" for number in range(12)),
                "Hashes are missing from: p0; p1; p2; p3; p4; p5; p6; p7; p8; p9; and 2 more. pip",
            ),
            ("Killed\n", "Killed. pip"),
            ("", "it said nothing. pip"),
            (
                "/usr/bin/python3: No module named pip\n",
                "the controller's Python has no pip to resolve them with. Install it (Debian: apt",
            ),
        ],
    )
    def test_its_reason_is_one_sentence_that_says_what_to_change(self, output, reason):
        assert pipeline.pip_reason(output).startswith(reason)


def here():
    """This Python as preflight describes it on a host."""
    found = host.describe_python(sys.executable)
    return Target(
        **{name: found[name] for name in ("python_version", "python_tag", "machine", "libc")}
    )


class TestTarget:
    def test_a_host_like_the_controller_takes_its_wheels(self):
        assert here().is_here()

    @pytest.mark.parametrize("libc", ["glibc-2.99", "glibc-3.0"])
    def test_a_newer_c_library_takes_them_too(self, libc):
        assert replace(here(), libc=libc).is_here()

    @pytest.mark.parametrize(
        "other",
        [
            {"python_tag": "cp27"},
            {"machine": "riscv128"},
            {"libc": "glibc-2.5"},
            {"libc": "musl-1.2"},
            {"libc": ""},
        ],
    )
    def test_another_host_does_not(self, other):
        assert not replace(here(), **other).is_here()

    def test_pip_is_told_the_hosts_python_and_every_platform_that_runs_there(self):
        args = pipeline.platform_args(Target("3.9.2", "cp39", "aarch64", "glibc-2.18"))
        assert args[:4] == ["--only-binary", ":all:", "--implementation", "cp"]
        assert args[4:6] == ["--python-version", "3.9"]
        assert set(args[6::2]) == {"--platform"}
        assert args[7:13:2] == [
            "manylinux_2_18_aarch64",
            "manylinux_2_17_aarch64",
            "manylinux2014_aarch64",
        ]
        assert "manylinux_2_5_aarch64" in args
        assert args[-1] == "linux_aarch64"

    @pytest.mark.parametrize(
        ("libc", "old_names"),
        [
            ("glibc-2.16", ["manylinux2010_x86_64", "manylinux1_x86_64"]),
            ("glibc-2.17", ["manylinux2014_x86_64", "manylinux2010_x86_64", "manylinux1_x86_64"]),
        ],
    )
    def test_wheels_with_the_old_names_of_a_platform_are_taken(self, libc, old_names):
        args = pipeline.platform_args(Target("3.11.2", "cp311", "x86_64", libc))
        assert [arg for arg in args if arg.startswith("manylinux") and arg[9] != "_"] == old_names

    @pytest.mark.parametrize("libc", ["musl-1.2", ""])
    def test_no_wheels_can_be_chosen_for_a_c_library_that_is_not_known(self, libc):
        with pytest.raises(ArchiveError, match=f"The hosts run {libc or 'an unknown C library'};"):
            pipeline.platform_args(replace(ELSEWHERE, libc=libc))


class TestEntry:
    """It is imported where the controller's Python is the hosts'."""

    def test_one_that_imports_is_proven_in_its_environment_and_leaves_no_trace(
        self, build, recipe, source
    ):
        (source / "shop.py").write_text(
            "import os, pathlib\n"
            "import flask\n"
            "os.environ['TOKEN']\n"
            "pathlib.Path(__file__).with_name('made-at-import').touch()\n"
            "def create_app():\n    raise SystemExit('a factory is not called')\n"
        )
        recipe = replace(recipe, entry="shop:create_app('production')", target=here())
        archive, _built = build(recipe, TOKEN="hunter2")
        assert "app/shop.py" in packed(archive)
        assert "app/made-at-import" not in packed(archive)
        assert not (source / "made-at-import").exists()

    @pytest.mark.parametrize(
        ("entry", "why"),
        [
            ("store:app", "No module named 'store'"),
            ("shop", "module 'shop' has no attribute 'application'"),
        ],
    )
    def test_one_that_does_not_import_is_told_and_no_archive_is_kept(
        self, build, recipe, cache, entry, why
    ):
        with pytest.raises(
            ArchiveError, match=f"flask_app_entry: {entry} cannot be imported: .*{why}"
        ):
            build(replace(recipe, entry=entry, target=here()))
        assert not list(cache.glob(f"shop-{'?' * 16}.tar"))

    def test_one_that_leaves_a_process_behind_is_proven(self, build, recipe, source):
        (source / "shop.py").write_text(
            "import subprocess\nsubprocess.Popen(['sleep', '999'])\napp = 1\n"
        )
        assert build(replace(recipe, target=here()))[1]

    def test_one_that_waits_for_ever_is_told(self, build, recipe, source, monkeypatch):
        (source / "shop.py").write_text("import threading\nthreading.Event().wait()\n")
        monkeypatch.setattr(pipeline, "IMPORT_SECONDS", 0.1)
        with pytest.raises(
            ArchiveError, match=r"cannot be imported: it was not done within 0\.1 s"
        ):
            build(replace(recipe, target=here()))

    def test_it_is_left_to_the_hosts_where_they_have_another_python(self, build, recipe):
        assert build(replace(recipe, entry="store:app"))[1]


class TestCache:
    def test_the_newest_archives_of_an_app_are_kept_and_those_of_others_left_alone(
        self, build, recipe, cache
    ):
        cache.mkdir()
        old = [cache / f"shop-{number:016x}.tar" for number in range(6)]
        others = [cache / f"shop-two-{0:016x}.tar", cache / "shop-notes.tar"]
        for age, path in enumerate([*others, *old]):
            path.touch()
            os.utime(path, (age, age))
        archive, _built = build(recipe)
        assert set(cache.glob("*.tar")) == {
            Path(archive), wheels_of(archive), *old[-4:], *others,
        }  # fmt: skip

    def test_runs_that_come_at_once_build_it_once(self, build, recipe):
        with ThreadPoolExecutor(4) as pool:
            found = [*pool.map(build, [recipe] * 4)]
        assert len({archive for archive, _built in found}) == 1
        assert sorted(built for artifact_archive, built in found) == [False, False, False, True]

    def test_an_archive_whose_wheels_are_gone_is_built_anew(self, build, recipe):
        archive, _built = build(recipe)
        wheels_of(archive).unlink()
        assert build(recipe) == (archive, True)
        assert wheels_of(archive).exists()

    def test_the_venv_that_the_entry_is_proven_in_is_kept_with_the_wheels(
        self, build, recipe, source, cache
    ):
        build(replace(recipe, target=here()))
        (venv,) = cache.glob("*.venv")
        (venv / "mark").touch()
        (source / "shop.py").write_text("app = 2\n")
        build(replace(recipe, target=here()))
        assert [path.name for path in cache.glob("*.venv/mark")] == ["mark"]

    def test_an_archive_that_is_used_again_is_not_an_old_one(self, build, recipe, cache):
        archive, _built = build(recipe)
        os.utime(archive, (0, 0))
        others = [cache / f"shop-{number:016x}.tar" for number in range(pipeline.KEPT_ARCHIVES - 1)]
        for path in others:
            path.touch()
            os.utime(path, (1, 1))
        build(recipe)
        build(replace(recipe, version="2.0"))
        assert sum(path.exists() for path in others) == len(others) - 1
        assert Path(archive).exists()


class TestRecipe:
    """The recipe that the parameters of release_archive give."""

    PARAMS = {  # noqa: RUF012
        "name": "shop",
        "source": None,
        "requirements": [],
        "runtime_requirements": ["gunicorn"],
        "entry": "shop:app",
        "version": "",
        "pip_args": [],
        "target": vars(ELSEWHERE),
    }

    def read(self, **params):
        return pipeline.recipe({**self.PARAMS, **params})

    def test_arguments_become_a_recipe(self, source):
        assert self.read(source=str(source), pip_args=["--pre"], version="2.0") == Recipe(
            name="shop",
            entry="shop:app",
            target=ELSEWHERE,
            source=str(source),
            requirements_file=f"{source}/requirements.txt",
            runtime=("gunicorn",),
            pip_args=("--pre",),
            version="2.0",
        )

    @pytest.mark.parametrize("wanted", [["flask"], ["flask", "redis"], ["flask", "prod.txt"]])
    def test_a_list_of_requirements_stands_instead_of_the_sources_file(self, source, wanted):
        recipe = self.read(source=str(source), requirements=wanted)
        assert (recipe.requirements, recipe.requirements_file) == (tuple(wanted), None)

    def test_a_source_without_a_requirements_file_needs_none(self, source):
        (source / "requirements.txt").unlink()
        recipe = self.read(source=str(source))
        assert (recipe.requirements, recipe.requirements_file) == ((), None)

    @pytest.mark.parametrize("name", ["prod.txt", "prod.in"])
    def test_a_requirements_file_is_known_by_its_path(self, source, name):
        path = source.parent / name
        path.touch()
        recipe = self.read(source=str(source), requirements=[str(path)])
        assert (recipe.requirements, recipe.requirements_file) == ((), str(path))

    def test_a_requirements_file_may_be_named_as_it_lies_in_the_source(self, source):
        (source / "requirements").mkdir()
        (source / "requirements" / "prod.txt").touch()
        recipe = self.read(source=str(source), requirements=["requirements/prod.txt"])
        assert recipe.requirements_file == f"{source}/requirements/prod.txt"

    @pytest.mark.parametrize(
        ("params", "message"),
        [
            ({"source": "/nowhere/shop"}, "flask_app_source: /nowhere/shop is not there"),
            (
                {"requirements": ["/nowhere/prod.txt"]},
                "flask_app_requirements: /nowhere/prod.txt is not there",
            ),
        ],
    )
    def test_input_that_is_not_there_is_named(self, params, message):
        with pytest.raises(ArchiveError, match=message):
            self.read(**params)


def git(folder, *words):
    command = ["git", "-c", "user.name=me", "-c", "user.email=me@example.com", *words]
    done = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def test_the_commit_of_a_source_is_told_and_whether_it_was_changed_since(source):
    assert pipeline.commit(str(source)) == ""
    git(source, "init", "-q")
    assert pipeline.commit(str(source)) == ""
    git(source, "add", ".")
    git(source, "commit", "-qm", "first")
    git(source, "tag", "-am", "a tag", "v1")
    head = git(source, "rev-parse", "HEAD")[:12]
    assert pipeline.commit(str(source)) == head
    (source / "notes").write_text("not a part of it\n")
    assert pipeline.commit(str(source)) == head
    (source / "shop.py").write_text("app = None\n")
    assert pipeline.commit(str(source)) == f"{head}+"


def test_a_copy_inside_another_project_is_of_none_of_its_commits(source, tmp_path):
    git(tmp_path, "init", "-q")
    git(tmp_path, "commit", "-q", "--allow-empty", "-m", "first")
    assert pipeline.commit(str(source)) == ""


def test_an_app_without_source_has_no_commit():
    assert pipeline.commit(None) == ""
