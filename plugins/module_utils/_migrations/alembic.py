# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read the source of an Alembic script, without running it. Pure.

Operations are those of https://alembic.sqlalchemy.org/en/latest/ops.html. Constants, f-strings,
loops over literals and functions of the same file are followed. An operation that is not known
yields a change with the verb UNKNOWN, so nothing of C(op) passes in silence.
"""

from __future__ import annotations

import ast
import builtins
import re
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from . import sql as migrations_sql
from . import sql_changes as sql
from .sql_changes import CHOSEN, PLACEHOLDER, Change

# Code that uses a live database, and prints nothing in offline mode.
ONLINE_ONLY = re.compile(r"is_offline_mode|as_sql|get_bind|[Ss]ession\b|[Cc]onnection\b|connect\(")
MAX_LOOPS = 500
MAX_DEPTH = 20
# These only read, or return an object to work with.
HARMLESS_OPS = frozenset(
    [
        "autocommit_block",
        "batch_alter_table",
        "begin_transaction",
        "bulk_insert",
        "create_table_comment",
        "drop_table_comment",
        "f",
        "get_bind",
        "get_context",
        "implementation_for",
        "inline_literal",
        "is_offline_mode",
    ]
)
EXECUTES = frozenset(["execute", "exec_driver_sql", "executemany", "scalar", "scalars"])
# Calls as statements that change no schema: of collections, sessions and logs.
HARMLESS_CALLS = frozenset(
    [
        "add",
        "add_all",
        "append",
        "begin",
        "bind",
        "close",
        "commit",
        "connect",
        "create",
        "create_all",
        "debug",
        "dispose",
        "error",
        "exception",
        "expunge_all",
        "extend",
        "flush",
        "getLogger",
        "info",
        "insert",
        "invalidate",
        "log",
        "pop",
        "prepare",
        "print",
        "reflect",
        "remove",
        "rollback",
        "setLevel",
        "setdefault",
        "sort",
        "warn",
        "warning",
        "write",
        "discard",
        "clear",
        "refresh",
    ]
)
# These can receive a connection.
TAKE_BIND = HARMLESS_CALLS | frozenset(
    [
        "Inspector",
        "MetaData",
        "Session",
        "Table",
        "automap_base",
        "from_engine",
        "has_column",
        "has_index",
        "has_table",
        "inspect",
        "scoped_session",
        "sessionmaker",
        "get_columns",
        "get_indexes",
    ]
)
UNWRAPPED = {
    "text",
    "dedent",
    "DDL",
    "bindparams",
    "strip",
    "lstrip",
    "rstrip",
    "execution_options",
}
TYPES = {
    "String": "character varying",
    "Unicode": "character varying",
    "VARCHAR": "character varying",
    "Text": "text",
    "UnicodeText": "text",
    "TEXT": "text",
    "Integer": "integer",
    "INTEGER": "integer",
    "BigInteger": "bigint",
    "BIGINT": "bigint",
    "SmallInteger": "smallint",
    "SMALLINT": "smallint",
    "Numeric": "numeric",
    "NUMERIC": "numeric",
    "DECIMAL": "numeric",
    "Float": "double precision",
    "REAL": "real",
    "DOUBLE_PRECISION": "double precision",
    "Boolean": "boolean",
}
CONSTRAINT_KINDS = {"foreignkey": "f", "check": "c", "unique": "u", "primary": "p"}


class Unresolved:
    """A value that only the running script knows."""

    def __repr__(self) -> str:
        return "..."


UNRESOLVED = Unresolved()


@dataclass(frozen=True)
class Batch:
    """The result of C(with op.batch_alter_table())."""

    table: str


@dataclass(frozen=True)
class Op:
    """The module alembic.op, or a connection of it."""

    is_bind: bool = False


@dataclass(frozen=True)
class Script:
    """An Alembic script: its place in the history, and its changes."""

    name: str
    revision: str
    parents: tuple[str, ...]
    depends: tuple[str, ...]
    changes: tuple[Change, ...]
    is_online_only: bool = False

    @property
    def label(self) -> str:
        return self.name[: -len(".py")] if self.name.endswith(".py") else self.name


def read(name: str, text: str, dialect: str = "postgresql") -> Script:
    """Parse a script; an invalid one has one unknown change."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return Script(name, "", (), (), (sql.unknown("the script cannot be parsed"),))
    reader = _Reader(tree, dialect)
    try:
        reader.run()
    except RecursionError:
        reader.found.append(sql.unknown("the script is nested too deeply"))
    parents = reader.value(reader.globals.get("down_revision"), {})
    revision = reader.value(reader.globals.get("revision"), {})
    depends = reader.value(reader.globals.get("depends_on"), {})
    return Script(
        name,
        revision if isinstance(revision, str) else "",
        _strings(parents),
        _strings(depends),
        tuple(replace(change, line=abs(change.line)) for change in reader.found),
        is_online_only=bool(ONLINE_ONLY.search(text)),
    )


def _strings(value: Any) -> tuple[str, ...]:
    if isinstance(value, str):
        return (value,)
    return (
        tuple(one for one in value if isinstance(one, str))
        if isinstance(value, (list, tuple))
        else ()
    )


class _Reader:
    """An interpreter of upgrade(), with the values that the source contains."""

    def __init__(self, tree: ast.Module, dialect: str) -> None:
        self.dialect = dialect
        self.found: list[Change] = []
        self.globals: dict[str, Any] = {"op": Op()}
        self.functions: dict[str, ast.FunctionDef] = {}
        self.imported: set[str] = set()
        self.depth = 0
        self.tree = tree

    def run(self) -> None:
        for node in self.tree.body:
            if isinstance(node, ast.ImportFrom):
                self._import(node)
            elif isinstance(node, ast.Import):
                for alias in node.names:
                    self.imported.add((alias.asname or alias.name).partition(".")[0])
            elif isinstance(node, ast.FunctionDef):
                self.functions[node.name] = node
        for node in self.tree.body:
            if not isinstance(
                node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Import, ast.ImportFrom)
            ):
                self._statement(node, self.globals)
        upgrades = [name for name in self.functions if re.fullmatch(r"upgrade(_\w*)?", name)]
        for name in upgrades:
            self._body(self.functions[name].body, dict(self.globals))
        if not upgrades:
            self.found.append(sql.unknown("the script has no function upgrade()"))

    def _import(self, node: ast.ImportFrom) -> None:
        for alias in node.names:
            name = alias.asname or alias.name
            if node.module == "alembic" and alias.name == "op":
                self.globals[name] = Op()
            elif node.module == "alembic.op":
                self.globals[name] = ("op", alias.name)
            else:
                self.imported.add(name)

    def _body(self, body: Sequence[ast.stmt], known: dict[str, Any]) -> None:
        for node in body:
            self._statement(node, known)

    def _statement(self, node: ast.stmt, known: dict[str, Any]) -> None:
        if isinstance(node, ast.FunctionDef):
            self.functions[node.name] = node
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            if isinstance(node, ast.ImportFrom):
                self._import(node)
        elif isinstance(node, ast.ClassDef):
            return
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            self._assign(node, known)
        elif isinstance(node, (ast.With, ast.AsyncWith)):
            for item in node.items:
                self._expression(item.context_expr, known)
                if isinstance(item.optional_vars, ast.Name):
                    known[item.optional_vars.id] = self.value(item.context_expr, known)
            self._body(node.body, known)
        elif isinstance(node, (ast.For, ast.AsyncFor)):
            self._expression(node.iter, known)
            for values in self._iterations(node.target, node.iter, known):
                self._body(node.body, {**known, **values})
            self._body(node.orelse, known)
        elif isinstance(node, ast.Expr):
            self._expression(node.value, known, is_statement=True)
        else:
            for child in ast.iter_child_nodes(node):
                if isinstance(child, ast.stmt):
                    self._statement(child, known)
                elif isinstance(child, ast.expr):
                    self._expression(child, known)
                elif isinstance(child, ast.ExceptHandler):
                    self._body(child.body, known)
                elif child.__class__.__name__ == "match_case":
                    self._body(child.body, known)  # type: ignore[attr-defined]

    def _assign(self, node: ast.Assign | ast.AnnAssign, known: dict[str, Any]) -> None:
        if node.value is None:
            return
        self._expression(node.value, known)
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        for target in targets:
            if isinstance(target, ast.Name):
                value = self.value(node.value, known)
                # A call is stored as its syntax tree: it can be a column, a table or a statement.
                known[target.id] = node.value if value is UNRESOLVED else value
            elif isinstance(target, (ast.Tuple, ast.List)):
                for values in self._iterations(target, ast.List([node.value], ast.Load()), known):
                    known.update(values)

    def _iterations(
        self, target: ast.expr, source: ast.expr, known: Mapping[str, Any]
    ) -> Iterator[dict[str, Any]]:
        """Yield the values of a loop's variables in each iteration."""
        names = [node.id for node in ast.walk(target) if isinstance(node, ast.Name)]
        items = self.value(source, known)
        if isinstance(items, Mapping):
            items = list(items)
        if not isinstance(items, (list, tuple)) or len(items) > MAX_LOOPS:
            yield dict.fromkeys(names, UNRESOLVED)
            return
        for item in items:
            if isinstance(target, ast.Name):
                yield {target.id: item}
            elif isinstance(item, (list, tuple)) and len(item) == len(names):
                yield dict(zip(names, item))
            else:
                yield dict.fromkeys(names, UNRESOLVED)

    def _expression(
        self, node: ast.expr, known: Mapping[str, Any], is_statement: bool = False
    ) -> None:
        """Find the calls in an expression, in execution order."""
        if isinstance(node, (ast.ListComp, ast.SetComp, ast.GeneratorExp, ast.DictComp)):
            first = node.generators[0]
            parts = [node.key, node.value] if isinstance(node, ast.DictComp) else [node.elt]
            for generator in node.generators:
                self._expression(generator.iter, known)
            for values in self._iterations(first.target, first.iter, known):
                for part in parts:
                    self._expression(part, {**known, **values}, is_statement)
            return
        if isinstance(node, ast.Lambda):
            self._expression(node.body, known)
            return
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.expr):
                self._expression(child, known)
            elif isinstance(child, ast.keyword):
                self._expression(child.value, known)
        if isinstance(node, ast.Call):
            before = len(self.found)
            self._call(node, known, is_statement)
            line = node.lineno
            self.found[before:] = [
                change if change.line < 0 else replace(change, line=-line)
                for change in self.found[before:]
            ]

    # Values

    def value(self, node: Any, known: Mapping[str, Any]) -> Any:
        """Evaluate an expression without running code, else return UNRESOLVED."""
        if not isinstance(node, ast.AST):
            return UNRESOLVED if node is None else node
        if isinstance(node, ast.Constant):
            return node.value
        if isinstance(node, ast.Name):
            found = known.get(node.id, self.globals.get(node.id, UNRESOLVED))
            return self.value(found, known) if isinstance(found, ast.Constant) else found
        if isinstance(node, (ast.List, ast.Tuple, ast.Set)):
            items = [self.value(item, known) for item in node.elts]
            return [node.elts[i] if item is UNRESOLVED else item for i, item in enumerate(items)]
        if isinstance(node, ast.Dict):
            return {
                str(self.value(key, known)): self.value(item, known)
                for key, item in zip(node.keys, node.values)
                if key
            }
        if isinstance(node, ast.JoinedStr):
            return "".join(self._piece(part, known) for part in node.values)
        if isinstance(node, ast.BinOp):
            return self._binary(node, known)
        if isinstance(node, ast.Call):
            return self._returned(node, known)
        if isinstance(node, ast.Attribute):
            root = self.value(node.value, known)
            if isinstance(root, Op):
                return ("op", node.attr)
            if node.attr == "upgrade_ops":
                return UNRESOLVED
        return UNRESOLVED

    def _piece(self, part: ast.expr, known: Mapping[str, Any]) -> str:
        value = self.value(part.value if isinstance(part, ast.FormattedValue) else part, known)
        return str(value) if isinstance(value, (str, int, float)) else PLACEHOLDER

    def _binary(self, node: ast.BinOp, known: Mapping[str, Any]) -> Any:
        left, right = self.value(node.left, known), self.value(node.right, known)
        if isinstance(node.op, ast.Add):
            if isinstance(left, list) and isinstance(right, list):
                return left + right
            if isinstance(left, str) or isinstance(right, str):
                return "".join(
                    side if isinstance(side, str) else PLACEHOLDER for side in (left, right)
                )
        if isinstance(node.op, ast.Mod) and isinstance(left, str):
            values = iter(right if isinstance(right, list) else [right])

            def fill(match: re.Match[str]) -> str:
                if match.group() == "%%":
                    return "%"
                value = next(values, UNRESOLVED) if match.group().startswith("%s") else UNRESOLVED
                return str(value) if isinstance(value, (str, int)) else PLACEHOLDER

            return re.sub(r"%\(\w+\)[sdr]|%[sdr]|%%", fill, left)
        return UNRESOLVED

    def _returned(self, call: ast.Call, known: Mapping[str, Any]) -> Any:
        name = _name(call.func)
        args = call.args
        if name == "batch_alter_table":
            return Batch(self._table(call, known))
        if name in ("get_bind", "connection", "connect", "get_context"):
            return Op(is_bind=True)
        if name in ("text", "dedent", "DDL") and args:
            value = self.value(args[0], known)
            return textwrap.dedent(value) if isinstance(value, str) else value
        if not isinstance(call.func, ast.Attribute):
            return UNRESOLVED
        root = self.value(call.func.value, known)
        if isinstance(root, str):
            if name == "format":
                return self._formatted(root, call, known)
            if name == "join" and args:
                parts = self.value(args[0], known)
                if isinstance(parts, list):
                    return root.join(p if isinstance(p, str) else PLACEHOLDER for p in parts)
                return PLACEHOLDER
            if name in ("lower", "upper"):
                return getattr(root, name)()
            if name in UNWRAPPED:
                return root
            if name in ("split", "splitlines") and not call.keywords:
                marks = [self.value(arg, known) for arg in args]
                if all(isinstance(mark, str) for mark in marks):
                    return getattr(root, name)(*marks)
        if isinstance(root, Mapping) and name in ("items", "keys", "values"):
            return [list(one) if name == "items" else one for one in getattr(root, name)()]
        return UNRESOLVED

    def _formatted(self, text: str, call: ast.Call, known: Mapping[str, Any]) -> str:
        args = [self._piece(arg, known) for arg in call.args]
        named = {word.arg: self._piece(word.value, known) for word in call.keywords if word.arg}
        try:
            return text.format(*args, **named)
        except (IndexError, KeyError, ValueError, AttributeError):
            return re.sub(r"\{[^{}]*\}", PLACEHOLDER, text)

    def _string(self, node: ast.expr | None, known: Mapping[str, Any]) -> str:
        """Return a name if it is known, else CHOSEN."""
        value = self.value(node, known)
        if isinstance(value, str) and PLACEHOLDER not in value:
            return value
        return CHOSEN

    def _argument(self, call: ast.Call, place: int, name: str) -> ast.expr | None:
        for word in call.keywords:
            if word.arg == name:
                return word.value
        return call.args[place] if len(call.args) > place else None

    def _flag(
        self, call: ast.Call, name: str, known: Mapping[str, Any], default: Any = None
    ) -> Any:
        for word in call.keywords:
            if word.arg == name:
                return self.value(word.value, known)
        return default

    def _table(self, call: ast.Call, known: Mapping[str, Any], place: int = 0, *names: str) -> str:
        node = None
        for name in (*names, "table_name", "source_table"):
            node = node or self._argument(call, place, name)
        table = self._string(node, known)
        schema = self._flag(call, "schema", known, self._flag(call, "source_schema", known))
        if isinstance(schema, str) and table != CHOSEN:
            return sql.plain(f"{schema}.{table}")
        return CHOSEN if schema is UNRESOLVED else table

    # Calls

    def _call(self, call: ast.Call, known: Mapping[str, Any], is_statement: bool) -> None:
        verb = _name(call.func)
        root: Any = None
        if isinstance(call.func, ast.Name):
            imported = known.get(verb, self.globals.get(verb))
            if isinstance(imported, tuple) and imported[:1] == ("op",):
                verb, root = imported[1], Op()
            elif verb in self.functions:
                self._follow(self.functions[verb], call, known)
                return
        elif isinstance(call.func, ast.Attribute):
            root = self.value(call.func.value, known)
        if isinstance(root, ast.AST):
            root = None
        is_op = isinstance(root, Batch) or (isinstance(root, Op) and not root.is_bind)
        # Also by the method's name alone, because the variable of op or of a batch may be unknown.
        if verb in OPERATIONS and (is_op or verb in TELLING or _looks_like_op(call.func)):
            batch = root.table if isinstance(root, Batch) else ""
            self.found += OPERATIONS[verb](self, call, known, batch)
        elif verb in EXECUTES and call.args:
            self._executed(call, known)
        elif verb in ("drop", "drop_all"):
            if call.args or call.keywords:
                self.found.append(Change(sql.DROP, what=ast.unparse(call)[: sql.MAX_TEXT]))
        elif verb in ("update", "delete") and is_statement and isinstance(root, Unresolved):
            self.found.append(Change(sql.DATA, what=f"{_root(call)}...{verb}()"))
        elif is_op and verb not in HARMLESS_OPS:
            self.found.append(sql.unknown(f"op.{verb}()"))
        else:
            self._foreign(call, verb, root, known, is_statement)

    def _foreign(
        self, call: ast.Call, verb: str, root: Any, known: Mapping[str, Any], is_statement: bool
    ) -> None:
        """Check a call of other code, which can use the database."""
        given = [*call.args, *(word.value for word in call.keywords)]
        handed = [value for node in given for value in [self.value(node, known)]]
        if any(isinstance(value, (Op, Batch)) for value in handed) and verb not in TAKE_BIND:
            self.found.append(sql.unknown(f"{verb or 'a function'}() is given the database"))
            return
        if not is_statement or verb in HARMLESS_CALLS or verb in HARMLESS_OPS:
            return
        is_builtin = isinstance(call.func, ast.Name) and hasattr(builtins, verb)
        knows_root = root is not None and not isinstance(root, (Unresolved, Op))
        if not is_builtin and not knows_root and verb not in ("update", "delete"):
            self.found.append(sql.unknown(f"calls {_root(call)}"))

    def _follow(self, function: ast.FunctionDef, call: ast.Call, known: Mapping[str, Any]) -> None:
        if self.depth >= MAX_DEPTH:
            self.found.append(sql.unknown(f"{function.name}() calls itself"))
            return
        names = [arg.arg for arg in (*function.args.posonlyargs, *function.args.args)]
        values: dict[str, Any] = dict.fromkeys(names, UNRESOLVED)
        defaults = function.args.defaults
        for name, default in zip(names[len(names) - len(defaults) :], defaults):
            values[name] = self.value(default, self.globals)
        for name, node in zip(names, call.args):
            value = self.value(node, known)
            values[name] = node if value is UNRESOLVED and isinstance(node, ast.Call) else value
        for word in call.keywords:
            if word.arg:
                values[word.arg] = self.value(word.value, known)
        self.depth += 1
        self._body(function.body, {**self.globals, **values})
        self.depth -= 1

    def _executed(self, call: ast.Call, known: Mapping[str, Any]) -> None:
        node = call.args[0]
        value = self.value(node, known)
        if isinstance(value, str):
            self.found += sql.changes(value, self.dialect)
            return
        shown = known.get(node.id, node) if isinstance(node, ast.Name) else node
        names = {_name(part) for part in ast.walk(shown) if isinstance(part, (ast.Name, ast.Attribute))} if isinstance(shown, ast.AST) else set()  # fmt: skip
        if names & {"update", "delete", "merge"}:
            self.found.append(Change(sql.DATA, what=ast.unparse(shown)[: sql.MAX_TEXT]))
        elif not names & {"insert", "select", "exists"}:
            text = ast.unparse(node)
            self.found.append(sql.unknown(f"execute({text})"))

    # Operations

    def column(self, node: ast.expr | None, known: Mapping[str, Any], table: str) -> Change:
        if isinstance(node, ast.Name):
            node = known.get(node.id, self.globals.get(node.id))
        if not isinstance(node, ast.Call):
            return sql.unknown(f"a column of {table} that the script chooses")
        if _name(node.func) == "copy" and isinstance(node.func, ast.Attribute):
            return self.column(node.func.value, known, table)
        if _name(node.func) not in ("Column", "mapped_column") or any(
            word.arg is None for word in node.keywords
        ):
            return sql.unknown(f"a column of {table} that the script chooses")
        name = self._string(self._argument(node, 0, "name"), known)
        nullable = self._flag(node, "nullable", known, True)
        primary = self._flag(node, "primary_key", known, False)
        default = ""
        below: list[Change] = []
        parts = [part for part in node.args[1:] if isinstance(part, ast.Call)]
        for part in parts:
            kind = _name(part.func)
            if kind in ("Identity", "Computed"):
                default = "generated"
            elif kind == "ForeignKey":
                target = self._string(self._argument(part, 0, "column"), known)
                # SQLAlchemy adds the constraint in a separate statement, which checks all rows.
                below.append(
                    Change(sql.FOREIGN_KEY, table, columns=(name,), kind=target.rpartition(".")[0])
                )
            elif kind == "CheckConstraint":
                columns = (name, *self.condition(self._argument(part, 0, "sqltext"), known))
                below.append(Change(sql.CHECK, table, columns=columns, what=f"CHECK on {table}"))
        for word in node.keywords:
            if word.arg == "server_default":
                default = self._default(word.value, known)
        if self._flag(node, "unique", known, False) not in (False, None) or primary not in (False, None):  # fmt: skip
            kind = "PRIMARY KEY" if primary else "UNIQUE"
            below.append(Change(sql.UNIQUE, table, columns=(name,), kind=kind))
        if self._flag(node, "index", known, False) not in (False, None):
            below.append(Change(sql.INDEX, table, columns=(name,)))
        return Change(
            sql.ADD_COLUMN,
            table,
            name,
            not_null=nullable in (False, UNRESOLVED) or bool(primary),
            default=default,
            below=tuple(below),
        )

    def condition(self, node: ast.expr | None, known: Mapping[str, Any]) -> tuple[str, ...]:
        """Return the names in the expression of a CHECK; () if only the running script knows it."""
        text = self.value(node, known)
        if not isinstance(text, str):
            return ()
        return sql.identifiers(list(migrations_sql.tokens(text, self.dialect)), self.dialect)

    def _default(self, node: ast.expr, known: Mapping[str, Any]) -> str:
        """Return the kind of a server default; a string of SQLAlchemy is a literal, text() an expression."""
        value = self.value(node, known)
        if value is None or value is False:
            return ""
        if isinstance(node, ast.Constant):
            return "constant"
        name = _name(node.func) if isinstance(node, ast.Call) else ""
        if name in ("Identity", "Computed", "FetchedValue", "Sequence"):
            return "generated"
        if name in ("text", "literal_column") and isinstance(value, str):
            tokens = next(iter(migrations_sql.statements(value, self.dialect)), None)
            return sql.volatility(tokens.tokens) if tokens else ""
        if name in ("now", "current_timestamp", "true", "false", "literal", "null"):
            return "" if name == "null" else "constant"
        if isinstance(value, str):
            return "constant"
        return "volatile"

    def type_of(self, node: ast.expr | None, known: Mapping[str, Any]) -> str:
        if node is None:
            return ""
        if isinstance(node, ast.Name) and isinstance(known.get(node.id), ast.Call):
            node = known[node.id]
        call = node if isinstance(node, ast.Call) else None
        name = _name(call.func if call else node)
        if name in ("DateTime", "TIMESTAMP"):
            zone = "with" if call and self._flag(call, "timezone", known) is True else "without"
            return f"timestamp {zone} time zone"
        base = TYPES.get(name)
        if not base:
            return ast.unparse(node)
        sizes = [self.value(arg, known) for arg in call.args] if call else []
        length = self._flag(call, "length", known) if call else None
        sizes = [length] if isinstance(length, int) else sizes
        sizes = [size for size in sizes if isinstance(size, int)]
        if base in ("character varying", "numeric") and sizes:
            return f"{base}({','.join(map(str, sizes))})"
        return base

    def names(self, node: ast.expr | None, known: Mapping[str, Any]) -> tuple[str, ...]:
        value = self.value(node, known)
        if isinstance(value, list):
            return tuple(item if isinstance(item, str) else CHOSEN for item in value)
        return (CHOSEN,)


def _name(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def _root(call: ast.Call) -> str:
    text = ast.unparse(call.func)
    return f"{text}()" if len(text) <= sql.MAX_TEXT else f"{text[: sql.MAX_TEXT]}...()"


def _looks_like_op(node: ast.expr) -> bool:
    """Return whether the object has a usual name of op or of a batch."""
    root = node.value if isinstance(node, ast.Attribute) else node
    return bool(re.search(r"(^|_)(op|operations|batch|batch_op)$", _name(root)))


Operation = Callable[["_Reader", ast.Call, Mapping[str, Any], str], "list[Change]"]


def _create_table(
    reader: _Reader, call: ast.Call, known: Mapping[str, Any], _batch: str
) -> list[Change]:
    may_exist = reader._flag(call, "if_not_exists", known, False) is not False
    table = reader._table(call, known)
    return [Change(sql.CREATE_TABLE, table, kind="if not exists" if may_exist else "")]


def _drop_table(
    reader: _Reader, call: ast.Call, known: Mapping[str, Any], _batch: str
) -> list[Change]:
    table = reader._table(call, known)
    return [Change(sql.DROP, table, what=f"table {table}")]


def _rename_table(
    reader: _Reader, call: ast.Call, known: Mapping[str, Any], _batch: str
) -> list[Change]:
    table = reader._table(call, known, 0, "old_table_name")
    return [Change(sql.RENAME, table, what=f"table {table}")]


def _add_column(
    reader: _Reader, call: ast.Call, known: Mapping[str, Any], batch: str
) -> list[Change]:
    table = batch or reader._table(call, known)
    return [reader.column(reader._argument(call, 0 if batch else 1, "column"), known, table)]


def _drop_column(
    reader: _Reader, call: ast.Call, known: Mapping[str, Any], batch: str
) -> list[Change]:
    # A batch whose name is not known receives only the column.
    is_batch = batch or len(call.args) == 1
    table = batch or (CHOSEN if is_batch else reader._table(call, known))
    column = reader._string(reader._argument(call, 0 if is_batch else 1, "column_name"), known)
    return [Change(sql.DROP, table, column, what=f"column {table}.{column}")]


def _alter_column(
    reader: _Reader, call: ast.Call, known: Mapping[str, Any], batch: str
) -> list[Change]:
    is_batch = batch or len(call.args) == 1
    table = batch or (CHOSEN if is_batch and not call.keywords else reader._table(call, known))
    column = reader._string(reader._argument(call, 0 if is_batch else 1, "column_name"), known)
    found: list[Change] = []
    if any(word.arg is None for word in call.keywords):
        found.append(sql.unknown(f"alter_column({table}, {column}, **...)"))
    new_type = reader._argument(call, 99, "type_")
    if new_type is not None:
        found.append(
            Change(
                sql.TYPE,
                table,
                column,
                old_type=reader.type_of(reader._argument(call, 99, "existing_type"), known),
                new_type=reader.type_of(new_type, known),
                kind="using" if reader._argument(call, 99, "postgresql_using") else "",
            )
        )
    default = reader._argument(call, 99, "server_default")
    if default is not None and reader.value(default, known) is not False:
        kind = reader._default(default, known)
        verb = sql.SET_DEFAULT if kind else sql.DROP_DEFAULT
        found.append(Change(verb, table, column, default=kind))
    nullable = reader._flag(call, "nullable", known)
    if nullable is not None:
        loosens = nullable is True
        found.append(Change(sql.DROP_NOT_NULL if loosens else sql.SET_NOT_NULL, table, column))
    # Alembic renames last.
    for word in call.keywords:
        if word.arg in ("new_column_name", "name"):
            what, new_name = f"column {table}.{column}", reader._string(word.value, known)
            found.append(Change(sql.RENAME, table, column, what=what, name=new_name))
    return found


def _unique_kind(reader: _Reader, call: ast.Call, known: Mapping[str, Any], kind: str) -> str:
    counts_null = reader._flag(call, "postgresql_nulls_not_distinct", known, False)
    return kind if counts_null in (False, None) else f"{kind} NULLS NOT DISTINCT"


def _create_index(
    reader: _Reader, call: ast.Call, known: Mapping[str, Any], batch: str
) -> list[Change]:
    table = batch or reader._table(call, known, 1)
    columns = reader.names(reader._argument(call, 1 if batch else 2, "columns"), known)
    name = reader._string(reader._argument(call, 0, "index_name"), known)
    safe = reader._flag(call, "postgresql_concurrently", known, False) is True
    unique = reader._flag(call, "unique", known, False) not in (False, None)
    if unique:
        kind = _unique_kind(reader, call, known, "UNIQUE INDEX")
        return [Change(sql.UNIQUE, table, columns=columns, kind=kind, name=name, safe=safe)]
    return [Change(sql.INDEX, table, columns=columns, name=name, safe=safe)]


def _drop_index(
    reader: _Reader, call: ast.Call, known: Mapping[str, Any], _batch: str
) -> list[Change]:
    return [
        Change(sql.DROP_INDEX, name=reader._string(reader._argument(call, 0, "index_name"), known))
    ]


def _create_unique(
    reader: _Reader, call: ast.Call, known: Mapping[str, Any], batch: str
) -> list[Change]:
    table = batch or reader._table(call, known, 1)
    columns = reader.names(reader._argument(call, 1 if batch else 2, "columns"), known)
    using = reader._flag(call, "postgresql_using_index", known) is not None
    kind = _unique_kind(reader, call, known, "UNIQUE")
    return [Change(sql.UNIQUE, table, columns=columns, kind=kind, using_index=using)]


def _create_primary(
    reader: _Reader, call: ast.Call, known: Mapping[str, Any], batch: str
) -> list[Change]:
    found = _create_unique(reader, call, known, batch)
    return [replace(change, kind="PRIMARY KEY") for change in found]


def _create_exclude(
    reader: _Reader, call: ast.Call, known: Mapping[str, Any], batch: str
) -> list[Change]:
    return [Change(sql.UNIQUE, batch or reader._table(call, known, 1), kind="EXCLUDE")]


def _create_check(
    reader: _Reader, call: ast.Call, known: Mapping[str, Any], batch: str
) -> list[Change]:
    table = batch or reader._table(call, known, 1)
    condition = reader._argument(call, 1 if batch else 2, "condition")
    columns = reader.condition(condition, known) or (CHOSEN,)
    safe = reader._flag(call, "postgresql_not_valid", known, False) is True
    return [Change(sql.CHECK, table, columns=columns, what=f"CHECK on {table}", safe=safe)]


def _create_foreign(
    reader: _Reader, call: ast.Call, known: Mapping[str, Any], batch: str
) -> list[Change]:
    table = batch or reader._table(call, known, 1)
    place = 1 if batch else 2
    target = reader._string(reader._argument(call, place, "referent_table"), known)
    columns = reader.names(reader._argument(call, place + 1, "local_cols"), known)
    safe = reader._flag(call, "postgresql_not_valid", known, False) is True
    return [Change(sql.FOREIGN_KEY, table, columns=columns, kind=target, safe=safe)]


def _drop_constraint(
    reader: _Reader, call: ast.Call, known: Mapping[str, Any], batch: str
) -> list[Change]:
    name = reader._string(reader._argument(call, 0, "constraint_name"), known)
    table = batch or reader._table(call, known, 1)
    kind = reader._argument(call, 1 if batch else 2, "type_")
    kind_name = CONSTRAINT_KINDS.get(reader._string(kind, known), "")
    return [Change(sql.DROP_CONSTRAINT, table, name=name, kind=kind_name)]


def _batch_alter(
    reader: _Reader, call: ast.Call, known: Mapping[str, Any], _batch: str
) -> list[Change]:
    table = reader._table(call, known)
    if reader._flag(call, "recreate", known) == "always" and reader.dialect != "sqlite":
        return [Change(sql.BLOCKING, table, what=f"batch_alter_table({table}, recreate='always')")]
    return []


OPERATIONS: Mapping[str, Operation] = {
    "add_column": _add_column,
    "alter_column": _alter_column,
    "batch_alter_table": _batch_alter,
    "create_check_constraint": _create_check,
    "create_exclude_constraint": _create_exclude,
    "create_foreign_key": _create_foreign,
    "create_index": _create_index,
    "create_primary_key": _create_primary,
    "create_table": _create_table,
    "create_unique_constraint": _create_unique,
    "drop_column": _drop_column,
    "drop_constraint": _drop_constraint,
    "drop_index": _drop_index,
    "drop_table": _drop_table,
    "rename_table": _rename_table,
}
# Names that exist only as Alembic's operations.
TELLING = frozenset(OPERATIONS) - {"add_column"}
