# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Generate the tables of the documentation from argument specs, DOCUMENTATION and playbooks.

Run C(make tables) after a change of these. C(tests/unit/test_docs.py) compares the result with the pages.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
REFERENCE = ROOT / "docs" / "reference.md"
MARKS = re.compile(r"(<!-- (\w+): begin -->\n).*?(<!-- \2: end -->)", re.DOTALL)

# Playbooks that other playbooks import. Users do not run them.
IMPORTED = {"batches", "preflight", "stage"}


def pages() -> list[Path]:
    return [*sorted(ROOT.glob("roles/*/README.md")), REFERENCE]


def updated(page: Path) -> str:
    """Return the text of a page with its generated parts replaced."""
    parts: dict[str, Callable[[], list[str]]] = {
        "variables": lambda: _variables(page.parent),
        "roles": _roles,
        "modules": lambda: _plugins("modules"),
        "filters": lambda: _plugins("filter"),
        "callbacks": lambda: _plugins("callback"),
        "playbooks": _playbooks,
    }
    return MARKS.sub(
        lambda mark: mark[1] + "\n".join(["", *parts[mark[2]](), "", ""]) + mark[3],
        page.read_text(encoding="utf-8"),
    )


def markdown(text: str) -> str:
    """Convert Ansible's markup to Markdown."""
    text = re.sub(
        r"\b(?:O|RV)\((?:[\w.]+\.)?(\w+)#module:([^)]+)\)", r"`\2` of the module `\1`", text
    )
    text = re.sub(r"\b(?:O|RV)\([\w.]+#\w+:(?:main:)?([^)]+)\)", r"`\1`", text)
    text = re.sub(r"\b(?:C|V|O|RV)\(([^)]*)\)", r"`\1`", text)
    return re.sub(r"\b[MP]\((?:evenkeel\.flask\.)?([\w.]+)(?:#\w+)?\)", r"`\1`", text)


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> list[str]:
    lines = [list(head)]
    lines.append(["---"] * len(lines[0]))
    lines.extend([cell.replace("|", r"\|") for cell in row] for row in rows)
    return [f"| {' | '.join(cells)} |" for cells in lines]


def _text(value: str | list[str]) -> str:
    return markdown(" ".join(value.split() if isinstance(value, str) else " ".join(value).split()))


def _variables(role: Path) -> list[str]:
    options = _load(role / "meta" / "argument_specs.yml")["argument_specs"]["main"]["options"]
    defaults = _load(role / "defaults" / "main.yml") or {}
    return _table(("variable", "meaning", "default"), _rows(options, defaults))


def _rows(
    options: Mapping[str, Any], defaults: Mapping[str, Any], path: str = ""
) -> Iterator[tuple[str, str, str]]:
    """Yield a row for each option and each option below it, except where an anchor repeats them."""
    seen: list[object] = []
    for name, option in options.items():
        meaning = _text(option["description"])
        choices = [f"`{choice}`" for choice in option.get("choices", [])]
        # A long list, such as the days that CloudWatch allows, stays in the argument spec.
        if 0 < len(choices) < 10:
            meaning += f" One of {', '.join(choices)}."
        if option.get("required"):
            default = "required"
        elif path:
            default = _shown(option["default"]) if "default" in option else ""
        else:
            default = _shown(defaults[name])
        yield f"`{path}{name}`", meaning, default
        below = option.get("options")
        if below and not any(below is other for other in seen):
            seen.append(below)
            yield from _rows(below, {}, f"{path}{name}.")


def _shown(value: object) -> str:
    """Write a default as in YAML; an empty text is "none"."""
    if value == "":
        return "none"
    if not isinstance(value, str):
        text = yaml.safe_dump(value, default_flow_style=True, width=10_000, sort_keys=False)
        return f"`{text.removesuffix(chr(10)).removesuffix(chr(10) + '...')}`"
    return f'`"{value}"`' if re.fullmatch(r"[\d.]+|true|false|yes|no", value) else f"`{value}`"


def _roles() -> list[str]:
    return _table(
        ("role", "purpose"),
        (
            (
                f"[{role.name}](../roles/{role.name}/README.md)",
                _text(
                    _load(role / "meta" / "argument_specs.yml")["argument_specs"]["main"][
                        "short_description"
                    ]
                ),
            )
            for role in sorted((ROOT / "roles").iterdir())
            if (role / "meta" / "argument_specs.yml").exists()
        ),
    )


def _plugins(kind: str) -> list[str]:
    return _table(
        ({"modules": "module"}.get(kind, kind), "purpose"),
        (
            (f"`{path.stem}`", _text(_documentation(path)["short_description"]))
            for path in sorted((ROOT / "plugins" / kind).glob("*.py"))
            if path.stem != "__init__"
        ),
    )


def _playbooks() -> list[str]:
    """A playbook's purpose is the comment at its top."""
    rows = []
    for path in sorted((ROOT / "playbooks").glob("*.yml")):
        comment = re.match(r"---\n((?:# .*\n)+)", path.read_text(encoding="utf-8"))
        if path.stem not in IMPORTED and comment:
            rows.append((f"`{path.stem}`", " ".join(comment[1].replace("# ", "").split())))
    return _table(("playbook", "purpose"), rows)


def _documentation(path: Path) -> dict[str, Any]:
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if (
            isinstance(node, ast.Assign)
            and isinstance(node.targets[0], ast.Name)
            and node.targets[0].id == "DOCUMENTATION"
        ):
            found: dict[str, Any] = yaml.safe_load(ast.literal_eval(node.value))
            return found
    raise ValueError(f"{path}: no DOCUMENTATION; every plugin must have one.")


def _load(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def main() -> None:
    for page in pages():
        new = updated(page)
        if new != page.read_text(encoding="utf-8"):
            page.write_text(new, encoding="utf-8")
            print(f"docs: wrote {page.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
