# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Requirements are read as pip reads them, and all that they depend on is found."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from ansible_collections.evenkeel.flask.plugins.module_utils._build import requirements
from ansible_collections.evenkeel.flask.plugins.module_utils._errors import ArchiveError
from ansible_collections.evenkeel.flask.plugins.module_utils._build.requirements import Reader
from hypothesis import given, settings
from hypothesis import strategies as st
from pip._internal.req.req_file import preprocess as as_pip_does

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def expanded(text, **environ):
    return [line.expanded for line in requirements.lines(text, environ)]


class TestLines:
    @pytest.mark.parametrize(
        ("text", "lines"),
        [
            ("flask\n", ["flask"]),
            ("\n  # all\nflask # why\n", ["flask"]),
            ("flask==3 \\\n    --hash=sha256:aa \\\n    --hash=sha256:bb\nredis\n",
             ["flask==3     --hash=sha256:aa     --hash=sha256:bb", "redis"]),
            ("flask \\\n# a comment ends it\nredis", ["flask", "redis"]),
            ("flask==3 \\", ["flask==3"]),
            ("git+https://x/y#egg=y", ["git+https://x/y#egg=y"]),
            ("flask==${V}\n", ["flask==3.0"]),
            ("flask==${v} $V ${NONE}\n", ["flask==${v} $V ${NONE}"]),
            ("a\r\nb\rc", ["a", "b", "c"]),
        ],
    )  # fmt: skip
    def test_they_are_joined_stripped_and_expanded(self, text, lines):
        assert expanded(text, V="3.0") == lines

    @given(
        st.lists(
            st.sampled_from(["a", " ", "\\", "#", "\n", "-", "=", "${V}", "\t", ";"]), max_size=30
        ).map("".join)
    )
    @settings(max_examples=150, deadline=None)
    def test_pip_reads_them_so(self, text):
        os.environ["V"] = "3.0"
        assert expanded(text, V="3.0") == [line for _number, line in as_pip_does(text)]

    @pytest.mark.parametrize(
        ("data", "text"),
        [
            ("fläsk".encode(), "fläsk"),
            ("flask".encode("utf-16"), "flask"),
            (b"\xef\xbb\xbfflask", "flask"),
            ("# -*- coding: latin1 -*-\nflä".encode("latin1"), "# -*- coding: latin1 -*-\nflä"),
        ],
    )
    def test_their_encoding_is_found(self, data, text):
        assert requirements.decode(data)[0] == text


def read(folder, text, **environ):
    (folder / "requirements.txt").write_text(text)
    reader = Reader([str(folder)], environ)
    reader.file(str(folder / "requirements.txt"))
    return reader.inputs


@pytest.fixture(name="tree")
def _tree(tmp_path):
    folder = tmp_path / "source"
    for path in (
        "libs/x/pyproject.toml",
        "with space/setup.py",
        "../common/setup.py",
        "wheels/x.whl",
        "x.tar.gz",
    ):
        full = folder / path
        full.parent.mkdir(parents=True, exist_ok=True)
        full.touch()
    return folder


class TestReferences:
    """Each way to name a local file or project is found."""

    @pytest.mark.parametrize(
        ("line", "kind", "place"),
        [
            ("./libs/x", "project", "libs/x"),
            ("libs/x", "project", "libs/x"),
            ("libs/x/", "project", "libs/x"),
            ("./libs/x[fast]", "project", "libs/x"),
            ("./libs/x ; python_version > '3'", "project", "libs/x"),
            ("-e ./libs/x", "project", "libs/x"),
            ("-e libs/x[a,b]", "project", "libs/x"),
            ("--editable=libs/x", "project", "libs/x"),
            ("../common", "project", "../common"),
            ("./with space", "project", "with space"),
            ("file:./libs/x", "project", "libs/x"),
            ("file://{top}/libs/x", "project", "libs/x"),
            ("file://localhost{top}/libs/x", "project", "libs/x"),
            ("file://{top}/with%20space", "project", "with space"),
            ("-e file://{top}/libs/x#egg=x", "project", "libs/x"),
            ("x @ file://{top}/libs/x", "project", "libs/x"),
            ("x[a] @ file://{top}/libs/x ; python_version > '3'", "project", "libs/x"),
            ("x@file://{top}/libs/x", "project", "libs/x"),
            ("{top}/libs/x", "project", "libs/x"),
            ("${{PLACE}}/x", "project", "libs/x"),
            ("./wheels/x.whl", "archive", "wheels/x.whl"),
            ("wheels/x.whl[a]", "archive", "wheels/x.whl"),
            ("x.tar.gz", "archive", "x.tar.gz"),
            ("x @ file://{top}/x.tar.gz#sha256=00", "archive", "x.tar.gz"),
            ("./wheels/x.whl --hash=sha256:00", "archive", "wheels/x.whl"),
        ],
    )
    def test_a_local_one_is_found(self, tree, line, kind, place):
        line = line.format(top=tree)
        (found,) = read(tree, f"# first\n{line}\n", PLACE="libs").references
        assert (found.kind, found.place) == (kind, os.path.normpath(tree / place))

    @pytest.mark.parametrize(
        "line",
        [
            "flask",
            "flask[async]>=3",
            "flask==3 --hash=sha256:00",
            "x; python_version < '3'",
            "libs",
            "--pre",
        ],
    )
    def test_one_from_an_index_is_none(self, tree, line):
        assert read(tree, line).references == []

    @pytest.mark.parametrize(
        ("line", "url", "revision"),
        [
            ("git+https://h/x.git@main", "https://h/x.git", "main"),
            ("git+https://h/x.git", "https://h/x.git", ""),
            ("git+ssh://git@h/x.git@v1.0#egg=x", "ssh://git@h/x.git", "v1.0"),
            ("git+ssh://git@h/x.git", "ssh://git@h/x.git", ""),
            ("x @ git+file:///srv/x@feature/y", "file:///srv/x", "feature/y"),
            ("-e git+https://u:p@h/x@dev#egg=x&subdirectory=s", "https://u:p@h/x", "dev"),
            ("x[a] @ git+https://h/x@main ; python_version > '3'", "https://h/x", "main"),
        ],
    )
    def test_a_repository_is_found_with_its_revision(self, tree, line, url, revision):
        (found,) = read(tree, line).references
        assert (found.kind, found.url, found.revision) == ("vcs", url, revision)
        assert "u:p" not in found.place

    @pytest.mark.parametrize(
        ("line", "is_pinned"),
        [
            ("https://h/x-1.0.tar.gz", False),
            ("https://h/archive/main.zip", False),
            ("x @ https://h/x-1.0.whl", False),
            ("x @ https://h/x-1.0.whl#md5=00", False),
            ("x @ https://h/x-1.0.whl#sha256=00", True),
            ("https://h/x-1.0.whl#egg=x&sha256=00", True),
            ("https://h/x-1.0.whl --hash=sha256:00", True),
            (f"git+https://h/x@{COMMIT}", True),
            ("git+https://h/x@main", False),
            ("hg+https://h/x@default", False),
            ("svn+https://h/x", False),
        ],
    )
    def test_what_always_means_the_same_is_told_apart(self, tree, line, is_pinned):
        (found,) = read(tree, line).references
        assert requirements.is_pinned(found) is is_pinned

    def test_an_encoding_that_is_not_known_is_named(self, tree):
        path = tree / "requirements.txt"
        path.write_text("# -*- coding: nonsense -*-\nflask\n")
        with pytest.raises(ArchiveError, match=r"requirements\.txt: its first lines name an enc"):
            Reader([], {}).file(str(path))

    def test_files_that_include_each_other_are_read_once(self, tree):
        (tree / "sub").mkdir()
        (tree / "sub" / "a.txt").write_text("-r ../requirements.txt\n-cb.txt\n./libs/x\n")
        (tree / "sub" / "b.txt").write_text("flask<4\n")
        found = read(tree, "--requirement=sub/a.txt\nredis\n")
        assert [os.path.basename(path) for path in found.files] == [
            "requirements.txt",
            "a.txt",
            "b.txt",
        ]
        assert {"redis", "flask<4"} <= set(found.content)
        assert [it.kind for it in found.references] == ["project"]

    @pytest.mark.parametrize(
        "line", ["-f wheels", "--find-links=./wheels", "--find-links file://{top}/wheels", "-i file://{top}/wheels",
                 "--extra-index-url file://{top}/wheels"],
    )  # fmt: skip
    def test_a_local_folder_of_archives_is_found(self, tree, line):
        assert read(tree, line.format(top=tree)).folders == [str(tree / "wheels")]

    def test_a_file_at_a_url_is_not_pinned(self, tree):
        found = read(tree, "-c https://u:p@h/constraints.txt\n-r http://h/more.txt\n")
        assert found.unpinned == ["https://h/constraints.txt", "http://h/more.txt"]

    @pytest.mark.parametrize(
        ("text", "needs"),
        [
            ("flask==3 --hash=sha256:00", True),
            ("--require-hashes\nflask==3", True),
            ("-c c.txt", False),
            ("flask", False),
        ],
    )
    def test_whether_hashes_are_needed_is_known(self, tree, text, needs):
        (tree / "c.txt").write_text("redis==5 --hash=sha256:00\n")
        assert read(tree, text).needs_hashes is needs

    def test_credentials_are_in_no_content(self, tree):
        found = read(
            tree,
            "--index-url https://me:hunter2@h/simple\nx @ git+https://${TOKEN}@h/x@main\n",
            TOKEN="hunter2",
        )
        assert "hunter2" not in str(found.content)
        assert "me" not in str(found.content)


class TestArguments:
    @pytest.mark.parametrize(
        ("args", "files", "folders"),
        [
            (["--constraint", "c.txt"], ["c.txt"], []),
            (["--constraint=c.txt"], ["c.txt"], []),
            (["-cc.txt"], ["c.txt"], []),
            (["-c", "c.txt"], ["c.txt"], []),
            (["-r", "c.txt"], ["c.txt"], []),
            (["--find-links", "wheels"], [], ["wheels"]),
            (["-fwheels"], [], ["wheels"]),
            (["--find-links=wheels/x.whl"], [], ["wheels/x.whl"]),
            (["--only-binary", ":all:", "--pre"], [], []),
        ],
    )
    def test_the_files_that_they_name_are_found(self, tree, args, files, folders):
        (tree / "c.txt").write_text("flask<4\n")
        reader = Reader([str(tree)], {})
        reader.arguments(args)
        assert [os.path.relpath(path, tree) for path in reader.inputs.files] == files
        assert [os.path.relpath(path, tree) for path in reader.inputs.folders] == folders

    def test_some_are_about_the_users_requirements_alone(self):
        args = [
            "--require-hashes",
            "-r",
            "a.txt",
            "--requirement=b.txt",
            "-rc.txt",
            "--pre",
            "-i",
            "u",
        ]
        kept = requirements.without(args, ("--require-hashes",), ("-r", "--requirement"))
        assert kept == ["--pre", "-i", "u"]


class TestSettings:
    """All settings of pip count, except those that are known to change nothing."""

    def test_environment_and_files_count_without_credentials(self, tmp_path):
        conf = tmp_path / "pip.conf"
        conf.write_text(
            "[global]\nindex_url = https://me:hunter2@h/simple\ncert = /x\nconstraint = /c.txt\n[wheel]\nnew-option = 1\n"
        )
        found = requirements.pip_settings(
            {
                "PIP_PRE": "1",
                "PIP_CACHE_DIR": "/x",
                "PIP_EXTRA_INDEX_URL": "https://t@h/s",
                "HOME": "/",
            },
            [str(conf), "/nowhere"],
        )
        assert found.content == [
            ":env:.extra-index-url=https://h/s",
            ":env:.pre=1",
            "global.constraint=/c.txt",
            "global.index-url=https://h/simple",
            "wheel.new-option=1",
        ]
        assert found.files == ["/c.txt"]
        assert not found.needs_hashes

    @pytest.mark.parametrize("value", ["1", "true", "YES"])
    def test_they_may_ask_for_hashes(self, value):
        assert requirements.pip_settings({"PIP_REQUIRE_HASHES": value}, []).needs_hashes

    def test_a_file_that_cannot_be_read_is_left_to_pip(self, tmp_path):
        (tmp_path / "pip.conf").write_text("no section\n")
        assert requirements.pip_settings({}, [str(tmp_path / "pip.conf")]).content == []

    def test_the_files_are_those_that_pip_reads(self, tmp_path):
        files = requirements.pip_files(
            {"XDG_CONFIG_DIRS": "/a:/b", "PIP_CONFIG_FILE": "/own"}, "/venv"
        )
        assert files[:3] == ["/a/pip/pip.conf", "/b/pip/pip.conf", "/etc/pip.conf"]
        assert files[-2:] == ["/venv/pip.conf", "/own"]
        assert requirements.pip_files({"PIP_CONFIG_FILE": os.devnull}, "/venv") == []


def git(folder, *words):
    command = ["git", "-c", "user.name=me", "-c", "user.email=me@example.com", *words]
    done = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


class TestGit:
    """A branch means its commit, as pip looks it up."""

    @pytest.fixture(name="commits")
    def _commits(self, tmp_path):
        git(tmp_path, "init", "-q", "-b", "main")
        commits = {}
        for name in ("first", "second"):
            git(tmp_path, "commit", "-q", "--allow-empty", "-m", name)
            commits[name] = git(tmp_path, "rev-parse", "HEAD")
        git(tmp_path, "branch", "feature/x", "HEAD~1")
        git(tmp_path, "branch", "both", "HEAD~1")
        git(tmp_path, "tag", "both")
        git(tmp_path, "tag", "light", "HEAD~1")
        git(tmp_path, "tag", "-am", "about", "heavy", "HEAD~1")
        return commits

    @pytest.mark.parametrize(
        ("revision", "commit"),
        [
            ("", "second"),
            ("@main", "second"),
            ("@feature/x", "first"),
            ("@both", "first"),
            ("@light", "first"),
            ("@heavy", "first"),
            ("@refs/heads/feature/x", "first"),
            ("@nowhere", None),
        ],
    )
    def test_it_is_looked_up(self, tmp_path, commits, revision, commit):
        found = requirements.reference(f"x @ git+file://{tmp_path}{revision}", [])
        assert requirements.resolve_git(found, lambda words: git(tmp_path, *words)) == commits.get(
            commit
        )

    def test_an_abbreviated_commit_means_itself(self, tmp_path, commits):
        short = commits["first"][:9]
        found = requirements.reference(f"git+file://{tmp_path}@{short}", [])
        assert requirements.resolve_git(found, lambda words: git(tmp_path, *words)) == short

    def test_a_repository_that_does_not_answer_is_not_known(self, tmp_path):
        found = requirements.reference("git+https://h/x@main", [])
        assert requirements.resolve_git(found, lambda _words: None) is None


class TestWrite:
    """The substitute for a requirement is equivalent, and the file can be in another folder."""

    @pytest.mark.parametrize(
        ("line", "put"),
        [
            ("-e .", "/w/shop.whl"),
            (".", "/w/shop.whl"),
            ("--editable=./  # us", "/w/shop.whl"),
            ("-e .[prod,mail]", "/w/shop.whl[prod,mail]"),
            (". ; python_version > '3'", "/w/shop.whl ; python_version > '3'"),
            ("shop[prod] @ file://{top}", "shop[prod] @ file:///w/shop.whl"),
            ("flask>=3", "flask>=3"),
            ("flask==3 \\\n  --hash=sha256:00", "flask==3 \\\n  --hash=sha256:00"),
            ("-c /etc/pins.txt", "-c /etc/pins.txt"),
            ("--find-links=./wheels", "--find-links {top}/./wheels"),
        ],
    )
    def test_a_line(self, tree, tmp_path, line, put):
        (tree / "setup.py").touch()
        inputs = read(tree, f"{line.format(top=tree)}\nredis\n")
        replacements = {
            found.spec: requirements.replaced(found, "/w/shop.whl") for found in inputs.references
        }
        names = requirements.write(inputs, replacements, str(tmp_path))
        ((new, old),) = names.items()
        assert old == str(tree / "requirements.txt")
        assert Path(new).read_text() == f"{put.format(top=tree)}\nredis\n"

    def test_line_numbers_stay_since_pip_names_them(self, tree, tmp_path):
        inputs = read(tree, "./libs/x \\\n  --hash=sha256:00 \\\n  --hash=sha256:11\nnowhere\n")
        (found,) = inputs.references
        names = requirements.write(inputs, {found.spec: "/copy/x"}, str(tmp_path))
        (new,) = names
        assert Path(new).read_text() == "/copy/x --hash=sha256:00   --hash=sha256:11\n\n\nnowhere\n"

    def test_files_that_are_included_are_written_too(self, tree, tmp_path):
        (tree / "sub").mkdir()
        (tree / "sub" / "a.txt").write_text("./libs/x\n")
        inputs = read(tree, "-r sub/a.txt\n")
        names = requirements.write(inputs, {"./libs/x": None}, str(tmp_path))
        top, below = names
        assert Path(top).read_text() == f"--requirement {below}\n"
        assert Path(below).read_text() == "\n"

    @pytest.mark.parametrize(
        ("line", "put"),
        [
            ("git+https://u:p@h/x.git@main#egg=x", f"git+https://u:p@h/x.git@{COMMIT}#egg=x"),
            ("-e git+https://h/x.git#egg=x", f"-e git+https://h/x.git@{COMMIT}#egg=x"),
            (
                "x[a] @ git+ssh://git@h/x@main ; python_version > '3'",
                f"x[a] @ git+ssh://git@h/x@{COMMIT} ; python_version > '3'",
            ),
        ],
    )
    def test_a_branch_becomes_its_commit(self, tree, line, put):
        (found,) = read(tree, line).references
        assert requirements.replaced(found, COMMIT) == put

    @pytest.mark.parametrize(
        "line",
        [
            *("-f wheels", "-fwheels", "--find-links wheels", "--find-links=wheels"),
            *('-f "wheels"', "--find-links='wheels'", "--pre -f wheels", "-f wheels --pre"),
            "--index-url https://x/${TOKEN}/y --find-links wheels",
        ],
    )
    @pytest.mark.parametrize("folder", ["plain", "with space", "with'quote"])
    def test_a_folder_of_archives_is_found_from_the_written_file(self, tmp_path, line, folder):
        top = tmp_path / folder
        (top / "wheels").mkdir(parents=True)
        (top / "my needs.txt").write_text(f"{line}\nflask\n")
        (top / "requirements.txt").write_text('-r "my needs.txt"\n')
        reader = Reader([], {})
        reader.file(str(top / "requirements.txt"))
        out = tmp_path / f"out {folder}"
        out.mkdir()
        written = requirements.write(reader.inputs, {}, str(out))
        again = Reader([], {})
        again.file(next(iter(written)))
        assert [*again.inputs.files] == [*written]
        assert again.inputs.folders == reader.inputs.folders == [str(top / "wheels")]
        (option,) = reader.inputs.index_options
        assert ("${TOKEN}" in option) == ("${TOKEN}" in line)
        elsewhere = tmp_path / "options.txt"
        elsewhere.write_text(option)
        moved = Reader([], {})
        moved.file(str(elsewhere))
        assert moved.inputs.folders == [str(top / "wheels")]


class TestProject:
    def test_what_it_requires_by_url_is_found_in_its_metadata(self, tree):
        (tree / "pyproject.toml").write_text(
            f'[project]\nname = "shop"\ndependencies = ["flask", "x @ file://{tree}/libs/x"]\n'
            '[project.optional-dependencies]\nprod = ["y @ git+https://h/y@main"]\n'
            '[build-system]\nrequires = ["setuptools", "z @ https://h/z.whl"]\n'
        )
        (tree / "libs" / "x" / "pyproject.toml").write_text(
            f'[project]\nname = "x"\ndependencies = ["common @ file://{tree}/../common"]\n'
        )
        reader = Reader([str(tree)], {})
        reader.project(str(tree))
        assert [(it.kind, os.path.basename(it.place)) for it in reader.inputs.references] == [
            ("project", "x"),
            ("project", "common"),
            ("vcs", "y"),
            ("url", "z.whl"),
        ]

    @pytest.mark.parametrize(
        "text",
        ["[", "project = 1", "[project]\ndependencies = 1", "[build-system]\nrequires = [1]"],
    )
    def test_what_is_no_metadata_is_none(self, tmp_path, text):
        (tmp_path / "pyproject.toml").write_text(text)
        assert requirements.direct_requirements(str(tmp_path)) == []
