# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The action copies only the archives that a host lacks, and passes the identity of the run to the module."""

from __future__ import annotations

import shutil
import subprocess
from types import SimpleNamespace

import pytest
from ansible_collections.evenkeel.flask.plugins.action import release
from ansible_collections.evenkeel.flask.plugins.plugin_utils import _identity


class Host:
    """A host that is this one, with a temporary directory that each task leaves empty."""

    def __init__(self, place):
        self.place = place
        self.kept = place / "srv" / "shop" / "archives"
        self.kept.mkdir(parents=True)
        self.module_args: dict = {}
        self.runs = 0
        self.foreign: list[str] = []
        self.copied: list[str] = []

    def __call__(self, check_mode=False, **args):
        shell = SimpleNamespace(tmpdir=None, join_path=lambda *parts: "/".join(parts))
        action = release.ActionModule(
            task=SimpleNamespace(
                action="evenkeel.flask.release",
                args={"name": "shop", "root": str(self.place / "srv"), **args}, async_val=0,
                check_mode=check_mode, diff=False, collections=[], delegate_to=None, environment=None,
            ),
            connection=SimpleNamespace(_shell=shell),
            play_context=SimpleNamespace(check_mode=check_mode),
            loader=None, templar=None, shared_loader_obj=None,
        )  # fmt: skip

        def make_tmp_path():
            shell.tmpdir = str(self.place / "tmp")
            (self.place / "tmp").mkdir()
            return shell.tmpdir

        def execute(module_args, task_vars):
            self.module_args = dict(module_args)
            self.copied = sorted(path.name for path in self.place.glob("tmp/*"))
            self.runs += 1
            if self.foreign:
                # As the module does with an archive that is not the one that was built.
                (self.kept / self.foreign.pop()).unlink()
                return {"failed": True, "replaced": True}
            return {"changed": True, "replaced": False}

        def command(line, sudoable):
            done = subprocess.run(line, shell=True, text=True, capture_output=True, check=False)
            return {"stdout": done.stdout, "rc": done.returncode}

        action._make_tmp_path = make_tmp_path
        action._transfer_file = shutil.copy
        action._fixup_perms2 = lambda _paths: None
        action._execute_module = execute
        action._low_level_execute_command = command
        action._remove_tmp_path = lambda path: path and shutil.rmtree(path)
        return action.run(task_vars={})


@pytest.fixture(name="host")
def _host(tmp_path):
    return Host(tmp_path / "host")


@pytest.fixture(name="archives")
def _archives(tmp_path):
    paths = {"archive": tmp_path / "shop-1.tar", "wheels": tmp_path / "shop-2.wheels.tar"}
    for path in paths.values():
        path.touch()
    return {name: str(path) for name, path in paths.items()}


@pytest.mark.parametrize("kept", [[], ["shop-2.wheels.tar"], ["shop-1.tar", "shop-2.wheels.tar"]])
def test_the_archives_that_a_host_lacks_are_copied(host, archives, kept):
    for name in kept:
        (host.kept / name).touch()
    assert host(state="staged", **archives)["changed"] is True
    assert host.copied == sorted({"shop-1.tar", "shop-2.wheels.tar"} - set(kept))
    assert host.module_args["uploads"] == (str(host.place / "tmp") if host.copied else None)
    assert not (host.place / "tmp").exists()


@pytest.mark.parametrize("foreign", [["shop-1.tar"], ["shop-1.tar", "shop-2.wheels.tar"]])
def test_what_a_host_kept_of_another_build_is_copied_again(host, archives, foreign):
    for name in ("shop-1.tar", "shop-2.wheels.tar"):
        (host.kept / name).touch()
    host.foreign = list(foreign)
    assert host(state="staged", **archives)["changed"] is True
    assert host.copied == foreign
    assert host.runs == len(foreign) + 1
    assert not (host.place / "tmp").exists()


@pytest.mark.parametrize("how", [{"check_mode": True, "state": "staged"}, {"state": "live"}])
def test_nothing_is_copied_where_nothing_is_staged(host, archives, how):
    host(**how, **archives)
    assert host.copied == []
    assert "uploads" not in host.module_args


def test_the_module_is_told_which_run_this_is(host):
    host(state="live", release="a")
    assert host.module_args.items() >= _identity.identity({}).items()
