# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The app's file is accepted when the nginx that runs has it, and not when a command returned 0: on a real nginx."""

from __future__ import annotations

import os
import pathlib
import resource
import socket

import pytest
from ansible_collections.evenkeel.flask.plugins.module_utils import _errors
from ansible_collections.evenkeel.flask.plugins.module_utils._front import config
from ansible_collections.evenkeel.flask.plugins.module_utils._front import site as front_site
from ansible_collections.evenkeel.flask.plugins.modules import nginx_site
from ansible_collections.evenkeel.flask.tests.unit.plugins.run_module import run_module
from front import NGINX, Front, ask, free_port, needs_nginx

pytestmark = [needs_nginx, pytest.mark.slow]


@pytest.fixture(autouse=True)
def _path(monkeypatch):
    monkeypatch.setenv("PATH", f"{pathlib.Path(NGINX).parent}:{os.environ['PATH']}")


@pytest.fixture(name="front")
def _front(tmp_path):
    """An nginx that runs, with another app and not yet the one of the test."""
    front = Front(tmp_path)
    front.other_port = free_port()
    front.other = front.site.with_name("other.conf")
    front.other.write_text(
        f"server {{ listen 127.0.0.1:{front.other_port}; return 200 other-1; }}\n"
    )
    front.site.write_text("# none yet\n")
    with front:
        front.site.unlink()
        yield front


def listens(front, addresses=("127.0.0.1",), port=None):
    return config.app_listens(addresses, port or front.port, config.resolve)


def made(front, listen=None, port=None):
    disk = config.Disk(str(front.config))
    program = front_site.Program(disk, ["-c", str(front.config), "-p", str(front.folder)])
    wanted = listens(front) if listen is None else listen
    return front_site.Site("shop", str(front.site), port or front.candidate_port, wanted, program)


def bring(front, site, **variables):
    text, digest = front_site.marked(front.content(**variables), site.name, site.port)
    site.bring(text, digest)
    return text, digest


def others_reload_works(front, text):
    front.other.write_text(
        f"server {{ listen 127.0.0.1:{front.other_port}; return 200 {text}; }}\n"
    )
    assert front.nginx("-t").returncode == 0
    front.nginx("-s", "reload")
    for _turn in range(600):
        if ask(front.other_port).text == text:
            return True
        front_site.time.sleep(0.05)
    return False


def names(front):
    return {path.name for path in front.site.parent.iterdir()}


def test_the_running_nginx_answers_by_the_file_when_the_module_is_done(front):
    site = made(front)
    _text, digest = bring(front, site)
    assert site.serves(digest)
    assert ask(front.port).status == 502
    assert names(front) == {"other.conf", "shop.conf"}
    changed, newer = bring(front, site, nginx_client_max_body_size="1m")
    assert newer != digest
    assert (site.serves(newer), site.serves(digest)) == (True, False)
    assert front.site.read_text() == changed


def test_a_candidates_port_that_becomes_the_apps_is_refused_with_nginx_own_error_and_blocks_nobody(
    front,
):
    # Real-app finding R2: nginx -t and the reload both succeed.
    site = made(front)
    text, digest = bring(front, site)
    moved, candidate = front.candidate_port, free_port()
    front.variables.update(
        flask_app_port=moved, nginx_candidate_port=candidate, nginx_listen_addresses=["0.0.0.0"]
    )
    later = made(front, listens(front, ["0.0.0.0"], moved), candidate)
    with pytest.raises(_errors.SiteError, match=rf"bind\(\) to 0.0.0.0:{moved} failed \(98"):
        bring(front, later)
    assert front.site.read_text() == text
    assert site.serves(digest)
    assert names(front) == {"other.conf", "shop.conf"}
    assert others_reload_works(front, "other-2")


def test_a_port_that_another_program_has_is_refused_with_nginx_own_error(front):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", front.port))
        taken.listen()
        site = made(front)
        with pytest.raises(_errors.SiteError, match=r"Address already in use"):
            bring(front, site)
    assert names(front) == {"other.conf"}
    assert others_reload_works(front, "other-2")


REFUSED = [
    {"nginx_client_max_body_size": "lots"},
    {"nginx_proxy_buffers": "1 1k"},
    {"nginx_server_names": ["~^(shop$"]},
    {"nginx_listen_addresses": ["nowhere.invalid"]},
    {"nginx_listen_addresses": ["192.0.2.77"]},
    {"nginx_access_log": "/no/such/folder/access.log"},
    {"nginx_trusted_proxies": ["10.0.0.0/99"]},
]


@pytest.mark.parametrize("variables", REFUSED)
@pytest.mark.parametrize("is_first", [True, False])
def test_a_file_that_nginx_refuses_leaves_all_as_it_was(front, variables, is_first):
    site = made(front)
    text = digest = None
    if not is_first:
        text, digest = bring(front, site)
    with pytest.raises(_errors.SiteError, match=r"\w"):
        bring(front, site, **variables)
    assert front_site.read(str(front.site)) == text
    assert names(front) == {"other.conf"} | ({"shop.conf"} if text else set())
    assert is_first or site.serves(digest)
    assert front.nginx("-t").returncode == 0
    assert others_reload_works(front, "other-2")


def test_a_file_that_cannot_be_written_fails_with_the_cause_and_leaves_all_as_it_was(front):
    site = made(front)
    text, digest = bring(front, site)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    # As on a full disk.
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(text) // 2, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            bring(front, made(front), nginx_client_max_body_size="1m")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert front.site.read_text() == text
    assert site.serves(digest)
    bring(front, site, nginx_client_max_body_size="2m")
    assert names(front) == {"other.conf", "shop.conf"}


def test_a_copy_that_a_person_keeps_beside_the_file_is_left_alone(front):
    copy = front.site.with_name("shop.conf.old")
    copy.write_text("server { listen 80; }\n")
    site = made(front)
    site.recover()
    bring(front, site)
    assert copy.read_text() == "server { listen 80; }\n"


def test_an_nginx_whose_pid_is_lost_is_not_taken_for_a_stopped_one(front, module):
    pid = front.folder / "nginx.pid"
    assert module()["changed"]
    text, known = front.site.read_text(), pid.read_text()
    pid.unlink()
    try:
        result = module(content=front.content(nginx_client_max_body_size="1m"))
    finally:
        pid.write_text(known)
    assert f"127.0.0.1:{front.port} takes connections, but {pid} names no nginx" in result["msg"]
    assert front.site.read_text() == text


class Killed(BaseException):
    """Simulate a controller that dies during a module: no later step runs."""


@pytest.mark.parametrize("is_first", [True, False])
@pytest.mark.parametrize("moment", ["test", "reload", "_await"])
def test_a_run_that_is_killed_at_any_point_is_made_up_for_by_the_next(
    front, monkeypatch, moment, is_first
):
    site = made(front)
    former = None if is_first else bring(front, site)[0]
    killed = made(front)

    def dies(*_arguments):
        raise Killed

    owner = killed if moment == "_await" else killed.program
    monkeypatch.setattr(owner, moment, dies)
    # Nothing is undone either.
    monkeypatch.setattr(killed, "_restore", dies)
    with pytest.raises(Killed):
        bring(front, killed, nginx_client_max_body_size="1m")
    assert os.path.exists(killed.old)
    later = made(front)
    later.recover()
    assert front_site.read(str(front.site)) == former
    text, digest = bring(front, later, nginx_client_max_body_size="2m")
    assert front.site.read_text() == text
    assert later.serves(digest)
    assert names(front) == {"other.conf", "shop.conf"}


def test_a_file_that_lies_there_and_is_not_in_force_is_noticed(front):
    # As an earlier version of the role left it where nginx had refused the reload.
    site = made(front)
    text, digest = front_site.marked(front.content(), "shop", site.port)
    front.site.write_text(text)
    assert not site.serves(digest)
    site.bring(text, digest)
    assert site.serves(digest)


def test_an_nginx_that_does_not_run_is_not_started(tmp_path):
    front = Front(tmp_path)
    site = made(front)
    bring(front, site)
    assert not site.program.runs()
    assert names(front) == {"shop.conf"}


def test_a_link_that_has_to_go_comes_back_where_the_file_is_refused(front):
    link = front.folder / "conf.d" / "default.conf"
    link.symlink_to(front.folder / "nowhere")
    site = made(front)
    site.links = [str(link)]
    with pytest.raises(_errors.SiteError):
        bring(front, site, nginx_client_max_body_size="lots")
    assert os.readlink(link) == str(front.folder / "nowhere")
    bring(front, site)
    assert not os.path.lexists(link)


@pytest.fixture(name="module")
def _module(front, monkeypatch):
    """The module as a task sees it, with the nginx of the test for that of the host."""
    wrapper = front.folder / "bin" / "nginx"
    wrapper.parent.mkdir()
    wrapper.write_text(f'#!/bin/sh\nexec {NGINX} -c {front.config} -p {front.folder} "$@"\n')
    wrapper.chmod(0o755)
    monkeypatch.setenv("PATH", f"{wrapper.parent}:{os.environ['PATH']}")
    compiled_in = {"conf-path": str(front.config)}
    monkeypatch.setattr(config, "_compiled_in", lambda: compiled_in)

    def run(check=False, content=None, **params):
        known = {
            "name": "shop",
            "path": str(front.site),
            "content": content or front.content(),
            "port": front.port,
            "addresses": ["127.0.0.1"],
            "candidate_port": front.candidate_port,
            "logs": [str(front.folder / "log" / "shop.log")],
        }
        return run_module(nginx_site, **{**known, **params}, check_mode=check)

    return run


def test_a_second_run_changes_nothing_and_check_mode_foretells(front, module):
    foretold = module(check=True)
    assert (foretold["changed"], front.site.exists()) == (True, False)
    first = module()
    assert (first["changed"], first["diff"]) == (True, foretold["diff"])
    assert (front.folder / "log" / "shop.log").stat().st_mode & 0o777 == 0o640
    for check in (False, True):
        assert module(check=check)["changed"] is False


@pytest.mark.parametrize(
    ("port", "variable"), [("port", "flask_app_port"), ("candidate_port", "nginx_candidate_port")]
)
def test_a_port_of_another_file_is_refused_before_anything_is_written(
    front, module, port, variable
):
    result = module(**{port: front.other_port})
    assert result["failed"]
    assert (
        result["msg"]
        == f"{variable}: port {front.other_port} belongs to {front.other}; choose another."
    )
    assert names(front) == {"other.conf"}


def test_what_nginx_refuses_fails_the_task_with_its_own_words(front, module):
    result = module(content=front.content(nginx_client_max_body_size="lots"))
    assert result["msg"].startswith(
        f'{front.site}: nginx refuses it: "client_max_body_size" directive invalid value in {front.site}:'
    )
    assert "The previous configuration is still active" in result["msg"]
    assert names(front) == {"other.conf"}
