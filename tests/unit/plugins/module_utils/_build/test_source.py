# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The controller ships the files that git tracks; without git, no secret file and never an environment."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest
from ansible_collections.evenkeel.flask.plugins.module_utils._build import source as build_source
from ansible_collections.evenkeel.flask.plugins.module_utils._errors import ArchiveError
from ansible_collections.evenkeel.flask.plugins.module_utils._build.source import Rules
from hypothesis import given, settings
from hypothesis import strategies as st

# Names of secret files in public lists (gitleaks, gitrob, shhgit, GitHub's gitignore templates), and those of the finding.
PUBLIC = [
    ".env",
    ".env.local",
    ".env.production",
    ".envrc",
    ".netrc",
    ".pypirc",
    ".vault_pass",
    ".python_history",
    ".aws/credentials",
    "id_ed25519",
    "server.pem",
    "dump.sql",
    "dev.db",
    "id_rsa",
    "id_dsa",
    "id_ecdsa",
    "key.ppk",
    "store.p12",
    "cert.pfx",
    "a.pkcs12",
    "otr.private_key",
    ".bash_history",
    ".zsh_history",
    ".mysql_history",
    ".psql_history",
    ".pgpass",
    ".irb_history",
    ".sqlite_history",
    "x.kdb",
    "x.kdbx",
    "x.psafe3",
    "x.agilekeychain/data",
    "x.keychain",
    "x.jks",
    "x.keystore",
    ".keystore",
    "proftpdpasswd",
    "robomongo.json",
    "filezilla.xml",
    "recentservers.xml",
    ".git-credentials",
    ".s3cfg",
    ".dockercfg",
    ".docker/config.json",
    ".npmrc",
    ".htpasswd",
    ".tugboat",
    ".muttrc",
    ".esmtprc",
    ".ftpconfig",
    ".remote-sync.json",
    "sftp-config.json",
    ".trc",
    ".boto",
    "client.ovpn",
    "x.tblk",
    "x.rdp",
    "x.pcap",
    "x.sqlite",
    "x.sqlite3",
    "x.sqldump",
    "terraform.tfvars",
    "x.tfstate",
    ".kube/config",
    ".ssh/id_rsa",
    ".gnupg/secring.gpg",
    "credentials.xml",
    "credentials.json",
    "client_secret_1.json",
    "service-account.json",
    "secrets.yml",
    "x.asc",
    "secret_token.rb",
    "knife.rb",
    ".chef/x.pem",
    "x.bek",
    "x.tpm",
    "x.fve",
    "x.keypair",
    "x.cscfg",
    "heroku.json",
    "wp-config.php",
    "LocalSettings.php",
    ".purple/accounts.xml",
    "master.key",
    "x.key",
    ".my.cnf",
    "backup.sql.gz",
    "db-backup.sql",
    "x.bak",
    ".vault-token",
    "kubeconfig",
    "prod.env",
    "x.age",
    ".pg_service.conf",
    "secret_key",
    ".secret_key",
    "secret_key.txt",
    "api_key.txt",
    ".api_key",
    "access_token",
    "oauth_token.txt",
    ".github_token",
    "gcp-credentials.json",
    "credentials-prod.json",
    "aws_credentials",
    "private_key.txt",
    "deploy_key",
    ".vault",
    "ansible_vault_pass",
    "rclone.conf",
    ".sentryclirc",
    ".databrickscfg",
    ".clasprc.json",
    ".dev.vars",
    "local.settings.json",
    "age.agekey",
    "passwords.csv",
    "celerybeat-schedule",
    "celerybeat-schedule.db",
    "celerybeat.pid",
    ".idea/dataSources.xml",
    ".serverless/state.json",
    ".pip/pip.conf",
    ".snowsql/config",
]


def lay(folder, *paths):
    for path in paths:
        full = folder / path
        full.parent.mkdir(parents=True, exist_ok=True)
        full.write_text(f"{path}\n")


def git(folder, *words):
    command = ["git", "-c", "user.name=me", "-c", "user.email=me@example.com", *words]
    allow = {"GIT_ALLOW_PROTOCOL": "file"}
    subprocess.run(
        command, cwd=folder, check=True, capture_output=True, env={**os.environ, **allow}
    )


@pytest.fixture(name="source")
def _source_folder(tmp_path):
    source = tmp_path / "source"
    lay(source, "app.py", "shop/__init__.py", "static/app.css")
    return source


@pytest.fixture(name="tracked")
def _tracked(source):
    git(source, "init", "-q")
    git(source, "add", ".")
    git(source, "commit", "-qm", "first")
    return source


def shipped(source, **rules):
    """Return the copied files and the warnings."""
    target = source.parent / "copy"
    shutil.rmtree(target, ignore_errors=True)
    warnings = build_source.copy(str(source), str(target), Rules(**rules))
    files = {
        str(path.relative_to(target))
        for path in target.rglob("*")
        if path.is_symlink() or path.is_file()
    }
    return files, warnings


APP = {"app.py", "shop/__init__.py", "static/app.css"}
NAMES = st.text(
    st.characters(blacklist_characters="/\0\n", blacklist_categories=("Cs",)),
    min_size=1,
    max_size=12,
).filter(lambda name: name not in (".", "..", ".git") and len(name.encode()) < 200)


class TestWorkTree:
    """In a git work tree, no untracked file is shipped, regardless of its name."""

    @given(st.lists(NAMES, min_size=1, max_size=3), st.booleans())
    @settings(max_examples=15, deadline=None)
    def test_no_untracked_file_is_shipped_whatever_its_name(self, tmp_path_factory, parts, ignored):
        source = tmp_path_factory.mktemp("top") / "source"
        lay(source, "app.py")
        git(source, "init", "-q")
        git(source, "add", ".")
        path = "/".join(parts)
        if path.partition("/")[0] == "app.py":
            return
        lay(source, path)
        if ignored:
            (source / ".git" / "info" / "exclude").write_text("*\n")
        files, warnings = shipped(source)
        assert files == {"app.py"}
        usual = any(
            build_source.is_usual(str(source), "/".join(parts[: at + 1])) for at in range(len(parts))
        )
        if not ignored and not usual:
            assert any("not tracked by git" in warning for warning in warnings)

    @pytest.mark.parametrize("name", PUBLIC)
    def test_not_a_secret_one_either(self, tracked, name):
        lay(tracked, name)
        assert shipped(tracked)[0] == APP

    def test_a_new_file_that_was_not_added_is_named(self, tracked):
        lay(tracked, *(f"new{number}.py" for number in range(7)))
        _files, (warning,) = shipped(tracked)
        assert warning == (
            "flask_app_source: new0.py, new1.py, new2.py, new3.py, new4.py and 2 more are not tracked by git, so not in "
            "the release. If the app needs one, name it in flask_app_include or add it to git; name the others in "
            "flask_app_exclude."
        )

    def test_what_is_changed_or_deleted_and_not_committed_is_as_it_lies_there(self, tracked):
        (tracked / "app.py").write_text("changed\n")
        (tracked / "static" / "app.css").unlink()
        files, warnings = shipped(tracked)
        assert files == APP - {"static/app.css"}
        assert (tracked.parent / "copy" / "app.py").read_text() == "changed\n"
        assert not warnings

    def test_a_source_below_the_top_of_its_repository_is_tracked_too(self, tracked):
        lay(tracked, "shop/secret")
        assert shipped(tracked / "shop")[0] == {"__init__.py"}

    def test_a_link_to_the_source_is_the_source(self, tracked):
        lay(tracked, "secret")
        (tracked.parent / "current").symlink_to(tracked)
        assert shipped(tracked.parent / "current")[0] == APP

    def test_a_hook_does_not_point_git_elsewhere(self, tracked, monkeypatch):
        monkeypatch.setenv("GIT_DIR", "/nowhere")
        monkeypatch.setenv("GIT_INDEX_FILE", "/nowhere/index")
        lay(tracked, "secret")
        assert shipped(tracked)[0] == APP

    def test_links_are_links_and_one_to_what_stays_behind_is_named(self, tracked):
        lay(tracked, "built/app.js")
        (tracked / ".gitignore").write_text("/built\n")
        (tracked / "good").symlink_to("app.py")
        (tracked / "static" / "built").symlink_to("../built")
        git(tracked, "add", ".")
        files, warnings = shipped(tracked)
        assert files == APP | {".gitignore", "good", "static/built"}
        assert [warning for warning in warnings if "link" in warning] == [
            "flask_app_source: static/built is a link to what is not in the release. Name its target in "
            "flask_app_include."
        ]
        assert os.readlink(tracked.parent / "copy" / "good") == "app.py"

    @pytest.mark.parametrize(
        "path",
        [
            "static/app.min.js",
            "shop/translations/de/LC_MESSAGES/messages.mo",
            "frontend/dist/index.html",
        ],
    )
    def test_a_built_file_that_git_ignores_is_named_and_can_be_taken_in(self, tracked, path):
        (tracked / ".git" / "info" / "exclude").write_text(f"{path}\n")
        lay(tracked, path)
        files, warnings = shipped(tracked)
        assert files == APP
        (warning,) = warnings
        assert f"{path} is ignored by git, so not in the release" in warning
        for include in (path, os.path.basename(path), f"{path.split('/')[0]}/**"):
            files, warnings = shipped(tracked, include=(include,))
            assert files == APP | {path}
            assert not warnings

    def test_a_frontend_that_git_ignores_is_named_and_a_package_that_was_built_is_not(
        self, tracked
    ):
        (tracked / ".git" / "info" / "exclude").write_text("dist\nbuild\n")
        lay(tracked, "build/lib/app.py", "dist/shop-1.0.tar.gz", "web/dist/index.html")
        _files, (warning,) = shipped(tracked)
        assert "flask_app_source: web/dist/index.html is ignored by git" in warning
        assert shipped(tracked, include=("web/dist/",))[0] == APP | {"web/dist/index.html"}
        assert shipped(tracked, exclude=("web/dist/",)) == (APP, [])

    def test_submodules_and_repositories_below_are_shipped_as_far_as_they_are_tracked(
        self, tracked, tmp_path
    ):
        other = tmp_path / "other"
        lay(other, "lib.py")
        git(other, "init", "-q")
        git(other, "add", ".")
        git(other, "commit", "-qm", "first")
        git(tracked, "submodule", "--quiet", "add", str(other), "vendor/lib")
        shutil.copytree(other, tracked / "embedded")
        git(tracked, "add", "embedded")
        lay(tracked, "vendor/lib/secret", "embedded/secret")
        files, _warnings = shipped(tracked)
        assert files == APP | {".gitmodules", "vendor/lib/lib.py", "embedded/lib.py"}

    @pytest.mark.parametrize("excluded", [(), ("static/",), ("static/app.css",), ("*.css",)])
    def test_a_file_that_a_sparse_checkout_leaves_out_is_named(self, tracked, excluded):
        git(tracked, "sparse-checkout", "set", "--no-cone", "/*", "!/static/app.css")
        files, warnings = shipped(tracked, exclude=excluded)
        assert "static/app.css" not in files
        named = [line for line in warnings if "static/app.css is not in the work tree" in line]
        assert len(named) == (not excluded)

    @pytest.mark.parametrize("is_tracked", [True, False])
    def test_a_pointer_of_git_lfs_in_the_place_of_a_file_is_named(
        self, tracked, tmp_path, is_tracked
    ):
        pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 9\n"
        (tracked / "static" / "logo.png").write_text(pointer)
        git(tracked, "add", "static/logo.png")
        (tracked / "static" / "about.txt").write_text(f"# {pointer}")
        git(tracked, "add", "static/about.txt")
        source = tracked
        if not is_tracked:
            source = tmp_path / "plain"
            shutil.copytree(tracked, source, ignore=shutil.ignore_patterns(".git"))
        _files, warnings = shipped(source)
        found = [line for line in warnings if "pointer of Git LFS" in line]
        assert [line.split(" is ")[0] for line in found] == ["flask_app_source: static/logo.png"]
        assert found[0].endswith("Run: git lfs pull")

    def test_a_submodule_that_is_not_checked_out_is_named(self, tracked, tmp_path):
        other = tmp_path / "other"
        lay(other, "lib.py")
        git(other, "init", "-q")
        git(other, "add", ".")
        git(other, "commit", "-qm", "first")
        git(tracked, "submodule", "--quiet", "add", str(other), "vendor/lib")
        git(tracked, "commit", "-qm", "second")
        clone = tmp_path / "clone"
        git(tmp_path, "clone", "-q", str(tracked), str(clone))
        files, (warning,) = shipped(clone)
        assert files == APP | {".gitmodules"}
        assert "vendor/lib is not checked out" in warning
        assert "git submodule update --init" in warning

    def test_a_repository_that_nobody_added_is_not_shipped(self, tracked):
        lay(tracked, "nested/code.py")
        git(tracked / "nested", "init", "-q")
        files, (warning,) = shipped(tracked)
        assert files == APP
        assert "nested/ is not tracked by git" in warning

    def test_a_work_tree_of_another_user_is_one_too(self, tracked):
        """As in a CI container, git refuses the work tree until it is marked as safe."""
        if os.geteuid() != 0:
            pytest.skip("only root gives files to another user")
        for place, folders, files in os.walk(tracked):
            for name in [".", *folders, *files]:
                os.lchown(os.path.join(place, name), 12345, 12345)
        lay(tracked, "secret")
        assert shipped(tracked)[0] == APP

    @pytest.mark.parametrize("hook", ["core.fsmonitor", "core.hooksPath"])
    def test_nothing_that_a_repository_configures_runs(self, tracked, tmp_path, hook):
        mark = tmp_path / "ran"
        script = tmp_path / "evil"
        script.write_text(f"#!/bin/sh\ntouch {mark}\n")
        script.chmod(0o755)
        git(tracked, "config", hook, str(script))
        shipped(tracked)
        assert not mark.exists()

    def test_where_git_is_missing_the_reason_is_told_and_nothing_is_shipped(
        self, tracked, monkeypatch
    ):
        monkeypatch.setenv("PATH", "/nowhere")
        with pytest.raises(
            ArchiveError, match=rf"lies in the git work tree {tracked}, and git cannot be run"
        ):
            shipped(tracked)

    def test_a_work_tree_whose_repository_is_gone_is_refused(self, source):
        (source / ".git").write_text("gitdir: /nowhere/.git/worktrees/shop\n")
        with pytest.raises(ArchiveError, match=r"git cannot list .*: fatal: not a git repo"):
            shipped(source)


class TestNoTrackedFile:
    """A directory of which git tracks nothing: a copy inside of another project, or one that was never added."""

    def test_one_that_the_repository_above_ignores_is_shipped_whole(self, source):
        git(source.parent, "init", "-q")
        (source.parent / ".gitignore").write_text("source\n")
        lay(source, "data/new.csv")
        assert shipped(source) == (APP | {"data/new.csv"}, [])

    def test_one_that_was_never_added_is_shipped_but_for_what_is_ignored_and_that_is_told(
        self, source
    ):
        git(source, "init", "-q")
        (source / ".gitignore").write_text("local.txt\n")
        lay(source, "local.txt", "key.pem")
        files, warnings = shipped(source)
        assert files == APP | {".gitignore"}
        assert any("git tracks no file of it" in warning for warning in warnings)
        assert any("key.pem is left out" in warning for warning in warnings)


class TestElsewhere:
    """Without git, each name of a public list of secrets is left out, and named unless it always was."""

    @pytest.mark.parametrize("name", PUBLIC)
    @pytest.mark.parametrize("place", ["", "shop/"])
    def test_a_secret_is_left_out_and_named(self, source, place, name):
        lay(source, place + name)
        files, warnings = shipped(source)
        assert files == APP
        if name != ".env":
            assert any(f"{place}{name.split('/')[0]}" in warning for warning in warnings)
        assert shipped(source, exclude=(place + name.split("/")[0],)) == (APP, [])

    def test_one_that_the_app_needs_can_be_taken_in(self, source):
        lay(source, "shop/ca.pem", "data/geo.db")
        files, warnings = shipped(source, include=("*.pem", "data/geo.db"))
        assert files == APP | {"shop/ca.pem", "data/geo.db"}
        assert not warnings

    def test_a_template_of_an_environment_holds_no_values(self, source):
        lay(source, ".env.example", ".env.template")
        assert shipped(source) == (APP | {".env.example", ".env.template"}, [])

    def test_sql_is_shipped_and_named_unless_it_is_a_schema(self, source):
        lay(source, "shop/schema.sql", "shop/customers.sql")
        files, (warning,) = shipped(source)
        assert files == APP | {"shop/schema.sql", "shop/customers.sql"}
        assert "shop/customers.sql is in the release" in warning
        assert shipped(source, include=("customers.sql",))[1] == []

    def test_a_module_is_no_secret_for_its_name(self, source):
        modules = {
            "credentials.py",
            "secrets.py",
            "shop/token.py",
            "shop/passwords.py",
            "credentials/__init__.py",
            "shop/dump.py",
        }
        lay(source, *modules)
        assert shipped(source) == (APP | modules, [])

    def test_without_a_work_tree_git_is_not_needed(self, source, monkeypatch):
        monkeypatch.setenv("PATH", "/nowhere")
        assert shipped(source) == (APP, [])

    def test_what_is_no_file_is_refused_before_anything_waits_for_it(self, source):
        os.mkfifo(source / "pipe")
        with pytest.raises(ArchiveError, match="pipe is neither file, directory nor symbolic link"):
            shipped(source)
        assert shipped(source, exclude=("pipe",)) == (APP, [])


class TestEnvironments:
    """An environment is recognized by its content, with any name, with links or copies, at any depth."""

    @pytest.fixture(name="made", params=["links", "copies"])
    def _made(self, request, tmp_path):
        place = tmp_path / "made"
        options = ["--copies"] if request.param == "copies" else []
        command = [sys.executable, "-m", "venv", "--without-pip", *options, place]
        subprocess.run(command, check=True)
        return place

    @pytest.mark.parametrize("place", ["env", "myprojectenv", "shop/deep/er/.venv311", "venv"])
    @pytest.mark.parametrize("is_tracked", [False, True])
    def test_it_is_left_out(self, source, made, place, is_tracked):
        shutil.copytree(made, source / place, symlinks=True)
        if is_tracked:
            git(source, "init", "-q")
            git(source, "add", ".")
        assert shipped(source) == (APP, [])

    def test_a_source_that_is_one_itself_loses_only_that(self, source, made):
        shutil.copytree(made, source, symlinks=True, dirs_exist_ok=True)
        assert shipped(source) == (APP, [])

    @pytest.mark.parametrize("kind", ["virtualenv", "conda"])
    def test_older_and_other_kinds_are_known_too(self, source, kind):
        inside = {"virtualenv": ["bin/python", "bin/activate"], "conda": ["conda-meta/history"]}
        lay(source, *(f"env/{path}" for path in (*inside[kind], "lib/x.py")))
        assert shipped(source) == (APP, [])

    def test_a_folder_called_env_is_a_folder(self, source):
        lay(source, "env/__init__.py", "shop/bin/activate")
        assert shipped(source) == (APP | {"env/__init__.py", "shop/bin/activate"}, [])


class TestPatterns:
    @pytest.mark.parametrize(
        ("pattern", "path", "is_folder", "fits"),
        [
            ("dev.db", "dev.db", False, True),
            ("dev.db", "a/b/dev.db", False, True),
            ("*.pem", "a/x.pem", False, True),
            ("*.pem", "x.pem.txt", False, False),
            ("data/", "data", True, True),
            ("data/", "a/data", True, True),
            ("data/", "data", False, False),
            ("/data", "data", True, True),
            ("/data", "a/data", True, False),
            ("a/b", "a/b", False, True),
            ("a/b", "x/a/b", False, False),
            ("a/*.js", "a/x.js", False, True),
            ("a/*.js", "a/b/x.js", False, False),
            ("a/**/x.js", "a/x.js", False, True),
            ("a/**/x.js", "a/b/c/x.js", False, True),
            ("a/**", "a/b/c", False, True),
            ("**/x", "a/b/x", False, True),
            ("**/x", "x", False, True),
            ("file?.[ch]", "fileA.c", False, True),
            ("a/file[!0-9]", "a/filex", False, True),
            ("a/file[!0-9]", "a/file1", False, False),
            ("a.b", "aXb", False, False),
            ("a/a.b", "a/aXb", False, False),
        ],
    )
    def test_they_are_read_as_git_reads_them(self, tmp_path, pattern, path, is_folder, fits):
        assert Rules(exclude=(pattern,)).excludes(path, is_folder) is fits
        # Git itself is the measure.
        git(tmp_path, "init", "-q")
        (tmp_path / ".git" / "info" / "exclude").write_text(f"{pattern}\n")
        (tmp_path / path).mkdir(parents=True) if is_folder else lay(tmp_path, path)
        command = ["git", "check-ignore", "-q", f"{path}/" if is_folder else path]
        done = subprocess.run(command, cwd=tmp_path, check=False)
        assert (done.returncode == 0) is fits

    def test_what_is_excluded_is_so_with_all_below_it_though_git_tracks_it(self, tracked):
        assert shipped(tracked, exclude=("static/",))[0] == APP - {"static/app.css"}
        assert shipped(tracked, exclude=("static",), include=("app.css",))[0] == APP - {
            "static/app.css"
        }

    @pytest.mark.parametrize("pattern", ["", "/", "!keep", "# x", "../x", "a/../../b", " x", "x "])
    def test_one_that_would_do_nothing_or_something_else_is_refused(self, pattern):
        assert build_source.problem(pattern)

    @pytest.mark.parametrize("pattern", ["x", "data/", "*.pem", "a..b", "a/**"])
    def test_others_are_not(self, pattern):
        assert build_source.problem(pattern) is None


def test_the_same_source_is_the_same_copy_with_git_and_without(tracked, tmp_path):
    """A release does not depend on whether it was made of a clone or of an export."""
    export = tmp_path / "export"
    shutil.copytree(tracked, export, ignore=shutil.ignore_patterns(".git"))
    assert shipped(tracked)[0] == shipped(export)[0] == APP
