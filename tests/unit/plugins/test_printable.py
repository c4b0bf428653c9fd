# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Nobody writes to the operator's terminal: by no module, action, filter, callback or report."""

from __future__ import annotations

import json
import unicodedata
from types import SimpleNamespace

import pytest
from ansible_collections.evenkeel.flask.plugins.callback import progress
from ansible_collections.evenkeel.flask.plugins.filter import (
    history_table,
    optimizations_table,
    status_table,
)
from ansible_collections.evenkeel.flask.plugins.module_utils import _module
from ansible_collections.evenkeel.flask.plugins.module_utils._gate import verdict as gate
from ansible_collections.evenkeel.flask.plugins.module_utils._printable import (
    columns,
    cut,
    pad,
    printable,
    printable_all,
    printable_line,
)
from ansible_collections.evenkeel.flask.plugins.plugin_utils import _table, _terminal
from ansible_collections.evenkeel.flask.plugins.plugin_utils._report import profile as profiles
from ansible_collections.evenkeel.flask.plugins.plugin_utils._report import rollout
from ansible_collections.evenkeel.flask.tests.unit.plugins.run_module import run_module
from hypothesis import example, given
from hypothesis import strategies as st

# What terminals obey, what hides, and what turns text around; whatever code point it is.
EVIL = "a\x1b[2J\x07\r\n\tb\x9bc\x7f\u202ed\u200b\u2066e\u2028f\x85g\ufeff\ud800h\x00"
ANY = st.one_of(st.text(max_size=30), st.sampled_from(list(EVIL)).map(lambda one: f"x{one}y"))
OBEYED = {"Cc", "Cf", "Cs", "Zl", "Zp"}


def is_safe(text, newlines=True):
    return not any(
        unicodedata.category(one) in OBEYED and not (newlines and one == "\n") for one in text
    )


@given(ANY)
@example(EVIL)
def test_nothing_that_a_terminal_obeys_is_left_but_newlines(text):
    assert is_safe(printable(text))
    assert is_safe(printable_line(text), newlines=False)
    assert printable(printable(text)) == printable(text)
    printable(text).encode()


@given(st.characters())
def test_each_code_point_by_itself(character):
    assert is_safe(printable(character))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("two\nlines", "two\nlines"),
        ("Dürüm \N{HOT BEVERAGE} 茶", "Dürüm \N{HOT BEVERAGE} 茶"),
        ("a\r\nb", "a\nb"),
        ("10 %\rdone", "10 %\ufffddone"),
        ("\x1b[31mred", "\ufffd[31mred"),
        ("a\tb\u00a0c", "a    b c"),
        ("user\u202egpj.exe", "usergpj.exe"),
    ],
)
def test_what_people_can_read_stays_as_it_is(text, shown):
    assert printable(text) == shown


@given(ANY, st.integers(1, 40))
def test_a_text_has_its_bounds(text, most):
    assert len(printable(text, most)) <= most


@given(
    st.recursive(
        st.one_of(st.none(), st.booleans(), st.integers(), ANY, st.binary(max_size=9)),
        lambda inner: st.one_of(
            st.lists(inner, max_size=3), st.tuples(inner), st.dictionaries(ANY, inner, max_size=3)
        ),
        max_leaves=8,
    )
)
def test_a_result_is_printable_in_all_its_parts(value):
    def texts(one):
        if isinstance(one, str):
            yield one
        elif isinstance(one, dict):
            for key, item in one.items():
                yield from (*texts(key), *texts(item))
        elif isinstance(one, (list, tuple)):
            for item in one:
                yield from texts(item)
        else:
            assert not isinstance(one, bytes)

    assert all(map(is_safe, texts(printable_all(value))))


def test_what_is_printable_stays_the_same_object():
    text = "all is well"
    assert printable_all([text])[0] is text


@given(st.lists(st.lists(ANY, min_size=3, max_size=3), min_size=1, max_size=4))
def test_a_table_keeps_its_columns(rows):
    # The last column shows where the others end.
    lines = _table.lay_out([[*row[:2], "|"] for row in rows])
    assert len(lines) == len(rows)
    assert all(is_safe(line, newlines=False) for line in lines)
    assert len({columns(line) for line in lines}) == 1


@given(ANY, st.integers(0, 20))
def test_a_cell_is_as_wide_as_asked(text, most):
    text = printable_line(text)
    assert columns(cut(text, most)) <= most
    assert columns(pad(cut(text, most), most)) == most


@given(ANY, ANY, ANY, st.integers(40, 120))
def test_the_table_that_lives_shows_nothing_that_is_obeyed(host, step, verdict, width):
    hosts = {host: _terminal.Host(0.0, step, 0.0, None, verdict), "app2": _terminal.Host(0.0)}
    for height in (2, 9):
        for line, _color in _terminal.table(hosts, 5.0, width, height):
            assert is_safe(line, newlines=False)
            assert columns(line) <= width


@given(ANY)
@example(EVIL)
def test_no_filter_shows_anything_that_is_obeyed(text):
    switch = dict.fromkeys(history_table.KEYS, text)
    info = {
        **dict.fromkeys(("live", "answering", "live_slot", "candidate", "previous", "since"), text),
        "drift": [text],
        "healthy": False,
        "history": [switch],
        "optimizations": [{"measure": text, "state": text, "detail": text}],
    }
    found = {text: info}
    balancers = {text: {"results": [{"item": text, "before": text}, {"item": "b", "before": "c"}]}}
    for lines in (
        status_table.status_table(found, balancers),
        history_table.history_table(found),
        optimizations_table.optimizations_table(found),
    ):
        assert all(is_safe(line, newlines=False) for line in lines)


class Display:
    verbosity = 0

    def __init__(self):
        self.shown = []

    def display(self, text, color=None, **_more):
        self.shown.append(text)

    def warning(self, text, **_more):
        self.display(text)


@given(ANY)
@example(EVIL)
def test_the_callback_shows_nothing_that_is_obeyed(text):
    callback = progress.CallbackModule()
    callback._display = screen = Display()
    play = SimpleNamespace(get_name=lambda: text)

    def result(action, **said):
        return SimpleNamespace(
            _host=SimpleNamespace(get_name=lambda: text),
            _task=SimpleNamespace(action=action, args={"state": text}),
            _result=said,
        )

    callback.v2_playbook_on_play_start(play)
    callback.v2_playbook_on_task_start(SimpleNamespace(name=text, action=text), False)
    callback.v2_runner_on_ok(result("debug", msg=text))
    callback.v2_runner_on_ok(result("debug", msg=[text, text]))
    callback.v2_runner_on_failed(result(text, msg=text, stderr=text))
    callback.v2_runner_on_failed(result(text, results=[{"failed": True, "msg": text}]))
    callback.v2_on_file_diff(
        result(text, changed=True, diff={"before": "", "after": text, "after_header": text})
    )
    callback.flush()
    assert screen.shown
    # Colours are Ansible's own; here there is no terminal for them.
    assert all(map(is_safe, screen.shown))


@given(ANY)
@example(EVIL)
def test_no_report_holds_anything_that_is_obeyed(text):
    results = [
        {
            **dict.fromkeys(("name", "title", "outcome", "reason"), text),
            "elapsed_ms": 1.0,
            "warnings": [text],
            "measured": {},
        }
    ]
    run = rollout.RolloutReport(
        text, text, text, [rollout.HostVerdict(text, text, text, results, [text])]
    )
    profile = profiles.ProfileReport(text, text, {}, {})
    for file in (rollout.as_html(run), rollout.as_junit(run), profiles.as_html(profile)):
        assert is_safe(file)
    for file in (rollout.as_json(run), profiles.as_json(profile)):
        assert all(is_safe(str(value)) for value in json.loads(file).values())


@given(ANY)
@example(EVIL)
def test_the_message_of_the_gate_is_one_that_can_be_shown(text):
    told = gate.as_dict([gate.Result("main_page", text, "failed", text, 1.0)])
    assert is_safe(str(printable_all(told)["msg"]))


@pytest.mark.parametrize("fails", [True, False])
def test_a_module_says_nothing_that_is_obeyed_and_masks_before_it_changes(fails):
    def main():
        module = _module.AnsibleModule(argument_spec={"key": {"type": "str", "no_log": True}})
        module.warn(EVIL)
        end = module.fail_json if fails else module.exit_json
        end(msg=f"{EVIL} with {module.params['key']}", lines=[EVIL], changed=True, deep={EVIL: 1})

    said = run_module(SimpleNamespace(main=main), key="hunt\u200ber2")
    assert is_safe(json.dumps(said, ensure_ascii=False).replace("\\n", ""))
    assert "hunt" not in str({name: part for name, part in said.items() if name != "invocation"})
    assert said["changed"] is True
    assert said.get("failed", False) is fails
