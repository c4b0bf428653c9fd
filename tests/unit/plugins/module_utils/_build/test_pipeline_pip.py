# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The build with the real pip: it accepts and refuses the same input as C(pip install -r), and stores nothing stale.

All packages come from a folder of small wheels, and local projects have their own build backend: no index is needed.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
from ansible_collections.evenkeel.flask.plugins.module_utils._build import pipeline
from ansible_collections.evenkeel.flask.plugins.module_utils._artifact import archive as artifact_archive
from ansible_collections.evenkeel.flask.plugins.module_utils._errors import ArchiveError
from ansible_collections.evenkeel.flask.plugins.module_utils._build.pipeline import Recipe, Target
from ansible_collections.evenkeel.flask.plugins.module_utils._preflight import host
from ansible_collections.evenkeel.flask.tests.unit.plugins.wheels import make_wheel

BACKEND = """\
import os, pathlib, re, zipfile

def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    text = pathlib.Path("pyproject.toml").read_text()
    name, = re.findall(r'^name = "(.*)"', text, re.M)
    requires = re.findall(r'^# requires (.*)', text, re.M)
    about = f"{name}-1.0.dist-info"
    # Backends leave things behind.
    os.makedirs("build/lib", exist_ok=True)
    pathlib.Path("build/lib/left").write_text("behind")
    wheel = f"{name}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(os.path.join(wheel_directory, wheel), "w") as archive:
        def write(path, text):
            archive.writestr(zipfile.ZipInfo(path), text)
        for path in sorted([*pathlib.Path(".").glob("*.py"), *pathlib.Path(".").glob("*.key")]):
            write(str(path), path.read_text())
        for path in pathlib.Path("build/lib").glob("*.py"):
            write(path.name, path.read_text())
        write(f"{about}/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        write(f"{about}/METADATA", f"Metadata-Version: 2.1\\nName: {name}\\nVersion: 1.0\\n"
              "Provides-Extra: fast\\n" + "".join(f"Requires-Dist: {it}\\n" for it in requires))
        write(f"{about}/RECORD", "")
    return wheel

build_editable = build_wheel
"""


def make_project(folder, name, *requires):
    """A project that needs nothing from an index to be built."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "backend.py").write_text(BACKEND)
    lines = "".join(f"# requires {it}\n" for it in requires)
    (folder / "pyproject.toml").write_text(
        f'{lines}[project]\nname = "{name}"\nversion = "1.0"\n'
        '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
    )
    (folder / f"{name}.py").write_text("VAT = 19\n")
    return folder


@pytest.fixture(name="shelf", autouse=True)
def _shelf(tmp_path, monkeypatch):
    """The packages that pip's configured index has: those of the app and of the collection."""
    shelf = tmp_path / "shelf"
    shelf.mkdir()
    make_wheel(shelf, "plain")
    make_wheel(shelf, "plain", "2.0")
    make_wheel(
        shelf, "needy", requires=["plain>=1", "extra; extra == 'more'\nProvides-Extra: more"]
    )
    make_wheel(shelf, "extra")
    make_wheel(shelf, "server", requires=["plain>=1"])
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(shelf))
    monkeypatch.setenv("PIP_NO_CACHE_DIR", "1")
    # The entry is proven in the other tests.
    monkeypatch.setattr(pipeline, "_check_venv", lambda *_args: "")
    monkeypatch.setattr(pipeline, "_prove_entry", lambda *_args: None)
    return shelf


def here():
    found = host.describe_python(sys.executable)
    return Target(**{it: found[it] for it in ("python_version", "python_tag", "machine", "libc")})


@pytest.fixture(name="source")
def _source(tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    (source / "app.py").write_text("app = 1\n")
    return source


@pytest.fixture(name="recipe")
def _recipe(source):
    file = str(source / "requirements.txt")
    return Recipe(
        "shop", "app:app", here(), str(source), requirements_file=file, runtime=("server",)
    )


class Built:
    """The output of a build."""

    def __init__(self, recipe, cache):
        self.warnings: list[str] = []
        self.archive, self.manifest, self.is_new = pipeline.build(
            recipe, str(cache), {}, self.warnings.append
        )
        with tarfile.open(self.archive) as tar:
            self.lock = tar.extractfile(artifact_archive.LOCK).read().decode()
        self.wheels = {}
        with tarfile.open(Path(self.archive).with_name(self.manifest.wheels)) as tar:
            for member in tar.getmembers():
                if member.isfile():
                    self.wheels[os.path.basename(member.name)] = tar.extractfile(member).read()

    def module(self, name):
        (wheel,) = (content for path, content in self.wheels.items() if path.startswith(f"{name}-"))
        place = Path(self.archive).parent / "looked-at.whl"
        place.write_bytes(wheel)
        with zipfile.ZipFile(place) as archive:
            return archive.read(f"{name}.py").decode()

    def names(self):
        return {line.split("==")[0] for line in self.lock.splitlines()}


def hashed(shelf, name, version="1.0"):
    digest = hashlib.sha256((shelf / f"{name}-{version}-py3-none-any.whl").read_bytes()).hexdigest()
    return f"{name}=={version} \\\n    --hash=sha256:{digest}\n"


def git(folder, *words):
    command = ["git", "-c", "user.name=me", "-c", "user.email=me@example.com", *words]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)


def as_everything(source, shelf):
    """Each way to name something, without hashes."""
    top = source.parent
    for name in ("one", "two", "three", "four"):
        make_project(source / "libs" / name, name)
    make_project(top / "common", "common")
    make_project(top / "remote", "remote")
    git(top / "remote", "init", "-q", "-b", "main")
    git(top / "remote", "add", ".")
    git(top / "remote", "commit", "-qm", "first")
    vendor = source / "vendor"
    vendor.mkdir()
    make_wheel(vendor, "vendored")
    make_wheel(vendor, "found")
    (source / "more").mkdir()
    (source / "more" / "a.txt").write_text("needy[more]\n")
    (source / "limits.txt").write_text("plain<2\n")
    return (
        "-r more/a.txt\n-c limits.txt\n--find-links ./vendor\nfound\n./libs/one[fast]\n-e ./libs/two\n"
        f"file:./libs/three\nfour @ file://{source}/libs/four ; python_version > '3'\n../common\n"
        f"./vendor/vendored-1.0-py3-none-any.whl\ngit+file://{top}/remote@main#egg=remote\n"
    )


def as_uv_writes_it(source, shelf):
    make_project(source, "shop", "needy")
    return "# by uv\n-e .\n" + hashed(shelf, "needy") + hashed(shelf, "plain")


def as_an_index_of_its_own(source, shelf):
    index = source.parent / "index" / "private"
    index.mkdir(parents=True)
    wheel = make_wheel(index, "private")
    (index / "index.html").write_text(f'<a href="{wheel.name}">{wheel.name}</a>')
    return f"--index-url file://{source.parent}/index\nprivate\n"


@pytest.mark.slow
class TestSameAsPip:
    """release_archive succeeds exactly when C(pip install -r) of the user's file alone does."""

    @pytest.mark.parametrize(
        ("write", "names"),
        [
            (
                lambda _source, shelf: hashed(shelf, "needy") + hashed(shelf, "plain"),
                {"needy", "plain", "server"},
            ),
            (
                as_everything,
                {"needy", "extra", "plain", "found", "one", "two", "three", "four", "common", "vendored",
                 "remote", "server"},
            ),
            (as_an_index_of_its_own, {"private", "plain", "server"}),
        ],
        ids=["hashes", "everything", "index"],
    )  # fmt: skip
    def test_what_pip_takes_is_built(
        self, recipe, source, shelf, tmp_path, monkeypatch, write, names
    ):
        (source / "requirements.txt").write_text(write(source, shelf))
        if write is as_an_index_of_its_own:
            monkeypatch.delenv("PIP_NO_INDEX")
            monkeypatch.setenv("PIP_INDEX_URL", f"file://{tmp_path}/nowhere")
        before = artifact_archive.tree_digest(str(source))
        built = Built(recipe, tmp_path / "cache")
        assert built.names() == names
        assert artifact_archive.tree_digest(str(source)) == before
        assert {line.split("sha256:")[1] for line in built.lock.splitlines()} == {
            hashlib.sha256(content).hexdigest() for content in built.wheels.values()
        }
        # No part is stale when the same build is requested again.
        again = Built(recipe, tmp_path / "cache")
        assert (again.is_new, again.archive) == (False, built.archive)
        assert alone(source, tmp_path) == 0

    @pytest.mark.parametrize(
        ("write", "message"),
        [
            (
                lambda _source, shelf: hashed(shelf, "needy"),
                r"In --require-hashes mode, all requirements must have their versions pinned with ==\. "
                r"These do not: plain>=1 from .*needy",
            ),
            (
                lambda _source, shelf: hashed(shelf, "plain") + "needy==1.0\n",
                r"Here is a list of those requirements .* needy==1\.0 --hash=sha256:",
            ),
            (
                lambda _source, shelf: hashed(shelf, "plain").replace("sha256:", "sha256:00")[:-3] + "\n",
                r"plain==1\.0 from .*requirements\.txt \(line 1\)\): Expected sha256 00",
            ),
        ],
        ids=["unpinned", "without", "wrong"],
    )  # fmt: skip
    def test_what_pip_refuses_is_refused_with_what_pip_lists(
        self, recipe, source, shelf, tmp_path, write, message
    ):
        (source / "requirements.txt").write_text(write(source, shelf))
        with pytest.raises(ArchiveError, match=f"^flask_app_requirements: .*{message}"):
            Built(recipe, tmp_path / "cache")
        assert alone(source, tmp_path) != 0
        assert not [*(tmp_path / "cache").glob("*.tar")]


def alone(source, tmp_path):
    """Return pip's report of C(pip install -r) for the user's file alone."""
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--quiet"]
    options = ["--src", str(tmp_path / "src"), "--target", str(tmp_path / "target")]
    copy = shutil.copytree(source, tmp_path / "pips" / "source")
    if (tmp_path / "common").exists():
        shutil.copytree(tmp_path / "common", tmp_path / "pips" / "common")
    file = copy / "requirements.txt"
    return subprocess.run([*command, *options, "-r", file], cwd=copy, check=False).returncode


@pytest.mark.slow
class TestHashes:
    def test_the_project_itself_needs_none_as_uv_exports_it(self, recipe, source, shelf, tmp_path):
        (source / "requirements.txt").write_text(as_uv_writes_it(source, shelf))
        built = Built(recipe, tmp_path / "cache")
        assert built.names() == {"needy", "plain", "server"}
        assert "plain==1.0" in built.lock

    def test_what_the_project_requires_must_be_among_them(self, recipe, source, shelf, tmp_path):
        make_project(source, "shop", "needy")
        (source / "requirements.txt").write_text("-e .\n" + hashed(shelf, "plain"))
        with pytest.raises(
            ArchiveError, match=r"needy.*must also have those of all that the app itself"
        ):
            Built(recipe, tmp_path / "cache")

    def test_pip_args_may_ask_for_them(self, recipe, source, shelf, tmp_path):
        recipe = replace(recipe, pip_args=("--require-hashes",))
        (source / "requirements.txt").write_text("plain==1.0\n")
        with pytest.raises(ArchiveError, match=r"plain==1\.0 --hash=sha256:"):
            Built(recipe, tmp_path / "cache")

    def test_another_controller_verifies_them_too(self, recipe, source, shelf, tmp_path):
        recipe = replace(recipe, target=Target("3.9.2", "cp39", "x86_64", "glibc-2.31"))
        (source / "requirements.txt").write_text(hashed(shelf, "plain"))
        assert Built(recipe, tmp_path / "cache").names() == {"plain", "server"}


@pytest.mark.slow
class TestTwoParties:
    def test_where_both_cannot_be_had_both_are_named(self, recipe, source, shelf, tmp_path):
        make_wheel(shelf, "server", requires=["plain>=2"])
        (source / "requirements.txt").write_text("plain<2\n")
        with pytest.raises(
            ArchiveError,
            match=r"^flask_app_requirements: they can be installed, but not with what the collection needs \(server\): "
            r".*conflict.*plain",
        ):
            Built(recipe, tmp_path / "cache")

    def test_only_ready_made_wheels_can_be_demanded(self, recipe, source, shelf, tmp_path):
        project = make_project(tmp_path / "sdist", "sourced")
        (project / "PKG-INFO").write_text("Metadata-Version: 2.1\nName: sourced\nVersion: 1.0\n")
        with tarfile.open(shelf / "sourced-1.0.tar.gz", "w:gz") as tar:
            tar.add(project, "sourced-1.0")
        (source / "requirements.txt").write_text("sourced\n")
        with pytest.raises(ArchiveError, match="No matching distribution found for sourced"):
            Built(replace(recipe, pip_args=("--only-binary", ":all:")), tmp_path / "cache")


@pytest.mark.slow
class TestLocalProjects:
    """The current files are released, even if no version changed."""

    def test_changed_code_is_released(self, recipe, source, tmp_path):
        pricing = make_project(source / "libs" / "pricing", "pricing")
        (source / "requirements.txt").write_text("./libs/pricing\n")
        first = Built(recipe, tmp_path / "cache")
        assert first.module("pricing") == "VAT = 19\n"
        (pricing / "pricing.py").write_text("VAT = 7\n")
        # Files of an earlier build are not part of the code.
        (pricing / "build" / "lib").mkdir(parents=True)
        (pricing / "build" / "lib" / "pricing.py").write_text("VAT = 16\n")
        second = Built(recipe, tmp_path / "cache")
        assert second.module("pricing") == "VAT = 7\n"
        assert second.manifest.digest != first.manifest.digest

    def test_a_branch_that_moved_is_released(self, recipe, source, tmp_path):
        remote = make_project(tmp_path / "remote", "remote")
        git(remote, "init", "-q", "-b", "main")
        git(remote, "add", ".")
        git(remote, "commit", "-qm", "first")
        (source / "requirements.txt").write_text(f"git+file://{remote}@main#egg=remote\n")
        first = Built(recipe, tmp_path / "cache")
        assert not Built(recipe, tmp_path / "cache").is_new
        (remote / "remote.py").write_text("VAT = 7\n")
        git(remote, "commit", "-qam", "second")
        second = Built(recipe, tmp_path / "cache")
        assert (first.module("remote"), second.module("remote")) == ("VAT = 19\n", "VAT = 7\n")

    def test_one_that_needs_its_neighbours_is_built_in_place_and_the_run_says_so(
        self, recipe, source, tmp_path
    ):
        pricing = make_project(source / "libs" / "pricing", "pricing")
        (source / "libs" / "VAT").write_text("19")
        backend = f"open('../VAT').close()\n{BACKEND}"
        (pricing / "backend.py").write_text(backend)
        (source / "requirements.txt").write_text("./libs/pricing\n")
        built = Built(recipe, tmp_path / "cache")
        assert built.module("pricing") == "VAT = 19\n"
        assert any("built in place" in warning for warning in built.warnings)

    def test_it_is_built_of_what_is_shipped(self, recipe, source, tmp_path):
        make_project(source / "libs" / "pricing", "pricing")
        make_project(tmp_path / "common", "common")
        make_project(source, "shop")
        git(tmp_path, "init", "-q")
        git(tmp_path, "add", "source", "common")
        for folder in (source, source / "libs" / "pricing", tmp_path / "common"):
            (folder / "secret.key").write_text("hunter2")
        (source / "requirements.txt").write_text("./libs/pricing\n../common\n")
        git(tmp_path, "add", "source/requirements.txt")
        built = Built(recipe, tmp_path / "cache")
        assert not [name for name, content in built.wheels.items() if b"secret.key" in content]
        with tarfile.open(built.archive) as tar:
            assert not [name for name in tar.getnames() if "secret" in name]


@pytest.mark.slow
def test_what_cannot_be_pinned_is_resolved_each_time_and_the_run_says_so(
    recipe, source, shelf, tmp_path
):
    make_project(tmp_path / "hidden", "hidden")
    make_wheel(shelf, "needy", requires=[f"hidden @ file://{tmp_path}/hidden"])
    (source / "requirements.txt").write_text("needy\n")
    first = Built(recipe, tmp_path / "cache")
    (warning,) = first.warnings
    assert (
        f"file://{tmp_path}/hidden, which needy-1.0-py3-none-any.whl requires, can become"
        in warning
    )
    (tmp_path / "hidden" / "hidden.py").write_text("VAT = 7\n")
    assert Built(recipe, tmp_path / "cache").module("hidden") == "VAT = 7\n"


class TestKey:
    """If a change of one input changes the result of a clean build, it changes the key."""

    @pytest.fixture(name="key")
    def _key(self, tmp_path):
        def key(recipe):
            work = tmp_path / "work"
            shutil.rmtree(work, ignore_errors=True)
            (work / "archive").mkdir(parents=True)
            app = str(work / "archive" / "app")
            pipeline._copy_source(recipe.source, app, recipe.rules)
            inputs = pipeline._inputs(recipe, app, str(work), lambda _warning: None)
            assert not inputs.unpinned
            whole = pipeline._key(recipe, str(work / "archive"), inputs)
            return whole, pipeline._wheels_key(recipe, inputs, None)

        return key

    @pytest.mark.parametrize(
        "changed",
        [
            "source/requirements.txt", "source/more/a.txt", "source/limits.txt", "source/libs/one/one.py",
            "source/libs/two/two.py", "source/libs/three/three.py", "source/libs/four/four.py", "common/common.py",
            "source/vendor/vendored-1.0-py3-none-any.whl", "source/vendor/found-1.0-py3-none-any.whl",
            "args-limits.txt", "args-links/new.whl", "pip-limits.txt", "remote/remote.py", "pip.conf",
        ],
    )  # fmt: skip
    def test_any_file_alone_changes_both_keys(
        self, recipe, source, shelf, tmp_path, monkeypatch, key, changed
    ):
        (source / "requirements.txt").write_text(as_everything(source, shelf))
        for name in ("args-limits.txt", "pip-limits.txt"):
            (tmp_path / name).write_text("plain<3\n")
        (tmp_path / "args-links").mkdir()
        (tmp_path / "pip.conf").write_text(f"[global]\nconstraint = {tmp_path}/pip-limits.txt\n")
        monkeypatch.setenv("PIP_CONFIG_FILE", str(tmp_path / "pip.conf"))
        args = ("-c", f"{tmp_path}/args-limits.txt", f"--find-links={tmp_path}/args-links")
        recipe = replace(recipe, pip_args=args)
        before = key(recipe)
        assert key(recipe) == before
        with (tmp_path / changed).open("a") as stream:
            stream.write("\nplain<4\n" if changed.endswith(".txt") else "\nindex-url = x\n")
        if changed.startswith("remote"):
            git(tmp_path / "remote", "commit", "-qam", "second")
        after = key(recipe)
        assert after[0] != before[0]
        assert after[1] != before[1]

    @pytest.mark.parametrize(
        ("name", "value", "is_input"),
        [
            ("PIP_INDEX_URL", "https://h/simple", True),
            ("PIP_PRE", "1", True),
            ("PIP_SOMETHING_NEW", "1", True),
            ("FLASK_VERSION", "3", True),
            ("PIP_CACHE_DIR", "/x", False),
            ("PIP_QUIET", "1", False),
            ("HOME_OF_NOBODY", "1", False),
        ],
    )
    def test_settings_and_variables_are_inputs_unless_they_change_nothing(
        self, recipe, source, monkeypatch, key, name, value, is_input
    ):
        (source / "requirements.txt").write_text("flask==${FLASK_VERSION}\n")
        before = key(recipe)
        monkeypatch.setenv(name, value)
        assert (key(recipe) != before) is is_input

    def test_credentials_are_no_input(self, recipe, source, monkeypatch, key):
        (source / "requirements.txt").write_text(
            "--index-url https://me:${TOKEN}@h/simple\nflask\n"
        )
        monkeypatch.setenv("TOKEN", "one")
        monkeypatch.setenv("PIP_EXTRA_INDEX_URL", "https://me:one@h/simple")
        before = key(recipe)
        monkeypatch.setenv("TOKEN", "two")
        monkeypatch.setenv("PIP_EXTRA_INDEX_URL", "https://me:two@h/simple")
        assert key(recipe) == before

    def test_a_comment_moves_no_dependency(self, recipe, source, key):
        (source / "requirements.txt").write_text("flask\n")
        before = key(recipe)
        (source / "requirements.txt").write_text("# why\nflask  # so\n")
        assert key(recipe)[1] == before[1]

    def test_content_is_json(self, recipe, source, shelf, tmp_path):
        (source / "requirements.txt").write_text(as_everything(source, shelf))
        (tmp_path / "work").mkdir()
        inputs = pipeline._inputs(recipe, str(source), str(tmp_path / "work"), lambda _warning: None)
        assert json.loads(json.dumps(inputs.content)) == inputs.content
