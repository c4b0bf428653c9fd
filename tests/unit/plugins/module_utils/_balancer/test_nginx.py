# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The file of an upstream is changed in one line, and put back to the letter."""

from __future__ import annotations

import pytest
from ansible_collections.evenkeel.flask.plugins.module_utils._balancer import nginx
from ansible_collections.evenkeel.flask.plugins.module_utils._errors import BalancerError
from ansible_collections.evenkeel.flask.plugins.module_utils._front import processes
from ansible_collections.evenkeel.flask.tests.unit.plugins.loopback import serving

ONE = """\
# Managed by hand.
upstream shop {
    least_conn;
    server app1:8000 max_fails=0;  # rack 1
    server app2:8000;
    server 10.0.0.3:8000 down;
    # server app4:8000;
    server [fd00::5]:8000 backup;
    server unix:/run/shop.sock;
}
server {
    listen 80;
    server_name shop.example;
    location / { proxy_pass http://shop; }
}
"""
TWO = "upstream a {\n  server app1:1;\n}\nupstream b {\n  server app1:2;\n  server app1:3;\n}\n"


def entry(text, server, upstream=None):
    return nginx.choose(nginx.parse(text), upstream, server)[0]


def test_servers_are_read_and_nothing_else():
    assert [(found.upstream, found.address, found.is_down) for found in nginx.parse(ONE)] == [
        ("shop", "app1:8000", False),
        ("shop", "app2:8000", False),
        ("shop", "10.0.0.3:8000", True),
        ("shop", "[fd00::5]:8000", False),
        ("shop", "unix:/run/shop.sock", False),
    ]


@pytest.mark.parametrize(
    ("server", "line"),
    [
        ("app1", "    server app1:8000 max_fails=0 down; # taken out by evenkeel.flask  # rack 1"),
        ("app2:8000", "    server app2:8000 down; # taken out by evenkeel.flask"),
        ("[fd00::5]", "    server [fd00::5]:8000 backup down; # taken out by evenkeel.flask"),
        ("unix:/run/shop.sock", "    server unix:/run/shop.sock down; # taken out by evenkeel.flask"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_a_server_is_marked_in_its_line_and_the_file_is_as_before_afterwards(server, line, newline):
    text = ONE.replace("\n", newline)
    out = nginx.edited(text, entry(text, server), is_down=True)
    changed = set(out.splitlines()) - set(text.splitlines())
    assert changed == {line}
    assert (entry(out, server).is_down, entry(out, server).is_ours) == (True, True)
    assert nginx.edited(out, entry(out, server), is_down=False) == text


def test_what_a_person_took_out_is_not_ours():
    assert not entry(ONE, "10.0.0.3").is_ours


@pytest.mark.parametrize(
    ("text", "upstream", "server", "message"),
    [
        (ONE, None, "app9", "it has no server app9; there are app1:8000, app2:8000, "),
        (TWO, None, "app1", "it has the upstreams a, b; name one"),
        (TWO, "c", "app1", "it has the upstreams a, b; name one"),
        (TWO, "b", "app1", "it has more than one server app1; there are app1:2, app1:3"),
        ("user www-data;\n", None, "app1", "it has no upstream with a server on a line"),
    ],
)
def test_what_is_not_clear_is_told_with_what_there_is(text, upstream, server, message):
    with pytest.raises(BalancerError) as caught:
        entry(text, server, upstream)
    assert message in str(caught.value)


def test_one_of_several_upstreams_is_named():
    found, pool = nginx.choose(nginx.parse(TWO), "b", "app1:3")
    assert (found.line, len(pool)) == (5, 2)


@pytest.mark.parametrize(
    ("after", "reloaded"),
    [
        ({11: 1, 12: 1}, False),
        ({11: 1, 12: 1, 13: 1}, False),
        ({12: 1, 13: 1, 14: 1}, False),
        ({13: 1, 14: 1}, True),
        ({}, False),
        # Another nginx on the machine does not matter, and neither does one that is new.
        ({21: 2, 11: 1, 12: 1}, False),
        ({21: 2, 13: 1}, True),
    ],
)
def test_a_reload_is_through_when_no_old_worker_takes_connections(after, reloaded):
    assert processes.is_reloaded({11: 1, 12: 1, 21: 2}, after) is reloaded


def test_a_server_is_asked_for_a_connection(tmp_path):
    with serving(b"") as up, serving(b"", unix_socket=str(tmp_path / "socket")):
        address = "{}:{}".format(*up.address)
        assert nginx.answers(address)
        assert nginx.answers(f"unix:{tmp_path}/socket")
    assert not nginx.answers(address)
    assert not nginx.answers("nowhere.invalid:80")


def test_a_file_that_is_not_there_is_named():
    with pytest.raises(BalancerError, match=r"/nowhere/shop\.conf cannot be read"):
        nginx.Nginx("app1", "/nowhere/shop.conf", None, write=print).servers()


def test_a_file_that_nginx_refuses_is_put_back(tmp_path, monkeypatch):
    path = tmp_path / "shop.conf"
    path.write_text(ONE)

    def refuse(*args):
        assert "app2:8000 down" in path.read_text()
        raise BalancerError("nginx -t fails: no")

    monkeypatch.setattr(nginx, "_nginx", refuse)
    with pytest.raises(BalancerError, match="no"):
        nginx.Nginx("app2", str(path), "shop", path.write_text).take_out()
    assert path.read_text() == ONE
