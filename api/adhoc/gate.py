"""The gate: whether a text is one SELECT that an administrator may run.

Belongs here: comparing Postgres's own parse tree with the allow-lists, and the bounded statement
that is run. Does not belong here: the lists (``api.adhoc.allowed``), which tables a role may read
(``api.adhoc.relations``), or running anything (``api.adhoc.runner``). Pure: no I/O.

The checked text itself is run, not one written anew from the tree: a printer's mistake would be a
hole, and :func:`bounded` shows that inside the bounded statement the text has the very tree that
was checked. The role that runs it can write nothing even if all of this is wrong.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pglast import ast, parser
from pglast.enums import A_Expr_Kind, SQLValueFunctionOp, SubLinkType

from api.adhoc import allowed
from api.adhoc.tree import children, names_of, position_of, statement_name

MAX_CHARACTERS = 20_000
MAX_TOKENS = 3_000  # a tree is never deeper than this; the parser's own stack holds six times it
# pglast finds the place of each node by going through the bytes beyond ASCII.
MAX_PLACES = 4_000_000
MAX_BRACKETS = 50
MAX_DEPTH = 150

_BOUNDED_SQL = (Path(__file__).parent / "sql" / "bounded.sql").read_text()
_BEYOND_ASCII = re.compile(r"[^\x00-\x7f]")
_OPENING = {"ASCII_40", "ASCII_91"}
_CLOSING = {"ASCII_41", "ASCII_93"}
_BETWEEN = {
    A_Expr_Kind.AEXPR_BETWEEN,
    A_Expr_Kind.AEXPR_NOT_BETWEEN,
    A_Expr_Kind.AEXPR_BETWEEN_SYM,
    A_Expr_Kind.AEXPR_NOT_BETWEEN_SYM,
}
_CLOCK = {
    SQLValueFunctionOp.SVFOP_CURRENT_DATE,
    SQLValueFunctionOp.SVFOP_CURRENT_TIME,
    SQLValueFunctionOp.SVFOP_CURRENT_TIME_N,
    SQLValueFunctionOp.SVFOP_CURRENT_TIMESTAMP,
    SQLValueFunctionOp.SVFOP_CURRENT_TIMESTAMP_N,
    SQLValueFunctionOp.SVFOP_LOCALTIME,
    SQLValueFunctionOp.SVFOP_LOCALTIME_N,
    SQLValueFunctionOp.SVFOP_LOCALTIMESTAMP,
    SQLValueFunctionOp.SVFOP_LOCALTIMESTAMP_N,
}
_NODE_REASONS = {
    "IntoClause": "SELECT INTO makes a table: only reading is allowed",
    "LockingClause": "FOR UPDATE and FOR SHARE lock rows: only reading is allowed",
    "ParamRef": "parameters such as $1 have no value here: write the value",
    "RangeTableSample": "TABLESAMPLE is not allowed",
    "XmlExpr": "XML functions are not allowed",
    "XmlSerialize": "XML functions are not allowed",
    "CTESearchClause": "SEARCH is not allowed",
    "CTECycleClause": "CYCLE is not allowed",
    "ColumnDef": "column definitions after a function are not allowed",
}
_HARMLESS = allowed.FUNCTIONS | allowed.TYPES | allowed.IMPLICIT_NAMES
"""Names that a column may have, and that do no harm where Postgres takes them for a function."""

# Its stubs call every field of a node optional; what is there depends on the grammar.
_Node = Any

Relations = Mapping[str, frozenset[str]]
"""Tables that may be read, each with its columns; names without the schema."""


class RefusedError(Exception):
    """A text that is not run.

    Attributes:
        reason: why, for its author to read.
        position: character of the text it is about, from 1; None where it is about the whole.
    """

    def __init__(self, reason: str, position: int | None = None) -> None:
        """Keep reason and position."""
        super().__init__(reason)
        self.reason = reason
        self.position = position


@dataclass(frozen=True)
class Checked:
    """A statement that passed.

    Attributes:
        sql: the statement as it was written, without what follows it.
        offset: characters of the given text before it.
        relations: tables it reads, without the schema.
        tree: what was checked.
    """

    sql: str
    offset: int
    relations: frozenset[str]
    tree: ast.SelectStmt = field(repr=False)


@dataclass(frozen=True)
class Bounded:
    """The statement that is run.

    Attributes:
        sql: gives the length of each row in bytes, then its columns.
        offset: characters before the checked statement in it.
    """

    sql: str
    offset: int


def check(sql: str, relations: Relations, schema: str = "reporting") -> Checked:
    """Return the statement if it is one SELECT that only reads the given tables.

    Args:
        relations: tables that may be read.
        schema: the schema they are in; each must be written with it.

    Raises:
        RefusedError: it is anything else; says what and where.
    """
    _check_size(sql)
    statement = _parse(sql)
    tree = statement.stmt
    if not isinstance(tree, ast.SelectStmt):
        raise RefusedError(
            f"{statement_name(tree)} is not allowed: write one SELECT", statement.stmt_location + 1
        )
    reading = _Reading(relations, schema)
    reading.check(tree)
    start = statement.stmt_location
    end = start + statement.stmt_len if statement.stmt_len else len(sql)
    return Checked(sql[start:end], start, frozenset(reading.used), tree)


def bounded(checked: Checked, *, rows: int, row_bytes: int) -> Bounded:
    """Return the statement that gives at most ``rows`` rows, and none longer than ``row_bytes``.

    A longer row comes with its length and NULL in every column, so that its reader can say so.

    Raises:
        RefusedError: inside it the text would be another statement than the one that was checked.
    """
    statement, offset = _bounded_sql(checked.sql, rows, row_bytes)
    expected, _ = _bounded_sql("VALUES (0)", rows, row_bytes)
    inside, outside = _parse(statement).stmt, _parse(expected).stmt
    if _answer(inside).subquery != checked.tree:
        raise RefusedError("the statement means something else as a part of another one")
    _answer(inside).subquery = _answer(outside).subquery
    if inside != outside:
        raise RefusedError("the statement reaches out of its place in another one")
    return Bounded(statement, offset)


def _bounded_sql(sql: str, rows: int, row_bytes: int) -> tuple[str, int]:
    head, tail = _BOUNDED_SQL.split("{statement}")
    return head + sql + tail.format(rows=int(rows), row_bytes=int(row_bytes)), len(head)


def _answer(statement: _Node) -> _Node:
    """The first table of the bounded statement: the sub-select that is what was checked."""
    tables = statement.fromClause[0]
    while isinstance(tables, ast.JoinExpr):
        tables = tables.larg
    if not isinstance(tables, ast.RangeSubselect):
        raise RefusedError("the statement reaches out of its place in another one")
    return tables


def _check_size(sql: str) -> None:
    """Refuse, before anything parses it, what could exhaust the parser's stack or fool it."""
    if len(sql) > MAX_CHARACTERS:
        raise RefusedError(
            f"the statement has {len(sql)} characters; at most {MAX_CHARACTERS} are allowed"
        )
    if "\0" in sql:
        raise RefusedError("the statement contains a NUL character", sql.index("\0") + 1)
    try:
        beyond_ascii = sum(byte > 127 for byte in sql.encode())
    except UnicodeEncodeError as error:
        raise RefusedError("the statement is not valid Unicode", error.start + 1) from None
    try:
        # Lengths and brackets are the same without them, and it takes a fraction of the time.
        tokens = parser.scan(_BEYOND_ASCII.sub("a", sql))
    except parser.ParseError as error:
        raise _syntax_error(error) from None
    if len(tokens) > MAX_TOKENS:
        raise RefusedError(
            f"the statement has {len(tokens)} words and signs; at most {MAX_TOKENS} are allowed"
        )
    if len(tokens) * beyond_ascii > MAX_PLACES:
        raise RefusedError(
            f"the statement has {len(tokens)} words and signs and {beyond_ascii} bytes of"
            " characters beyond ASCII; write fewer of either"
        )
    brackets = 0
    for token in tokens:
        brackets += (token.name in _OPENING) - (token.name in _CLOSING)
        if brackets > MAX_BRACKETS:
            raise RefusedError(
                f"brackets are nested more than {MAX_BRACKETS} deep", token.start + 1
            )


def _parse(sql: str) -> _Node:
    try:
        statements = parser.parse_sql(sql)
    except parser.ParseError as error:
        raise _syntax_error(error) from None
    except RecursionError:
        raise RefusedError("the statement is nested too deeply") from None
    if not statements:
        raise RefusedError("there is no statement")
    if len(statements) > 1:
        raise RefusedError(
            f"there are {len(statements)} statements; write one",
            (statements[1].stmt_location or 0) + 1,
        )
    return statements[0]


def _syntax_error(error: parser.ParseError) -> RefusedError:
    message, *location = error.args
    index = location[0] if location else None
    return RefusedError(f"not valid SQL: {message}", None if index is None else index + 1)


@dataclass
class _Reading:
    """One statement being compared with the lists, node by node, without recursion."""

    relations: Relations
    schema: str
    used: set[str] = field(default_factory=set)
    _derived: set[str] = field(default_factory=set)
    _columns_of: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    _declared: set[str] = field(default_factory=set)
    _column_names: set[str] = field(default_factory=set)
    _scalars: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    _tables: Counter[str] = field(default_factory=Counter)
    _attributes: list[tuple[tuple[str, ...], _Node, bool]] = field(default_factory=list)

    def check(self, tree: ast.SelectStmt) -> None:
        """Raise :class:`RefusedError` for the first thing that is not listed."""
        pending: list[tuple[_Node, frozenset[str], int]] = [(tree, frozenset(), 0)]
        while pending:
            node, ctes, depth = pending.pop()
            if depth > MAX_DEPTH:
                raise RefusedError("the statement is nested too deeply", position_of(node))
            name = type(node).__name__
            if name not in allowed.NODES:
                raise RefusedError(_node_reason(node), position_of(node))
            rule = getattr(self, f"_{name.lower()}", None)
            if rule is not None:
                rule(node, ctes)
            if isinstance(node, ast.SelectStmt):
                pending += ((child, seen, depth + 1) for child, seen in _scopes(node, ctes))
            else:
                pending += ((child, ctes, depth + 1) for child in children(node))
        # Only now every alias is known.
        for names, node, in_brackets in self._attributes:
            self._check_attribute(names, node, in_brackets)

    def _rangevar(self, node: _Node, ctes: frozenset[str]) -> None:
        name = node.relname
        position = position_of(node)
        columns: set[str] | None = None
        if node.catalogname is not None:
            raise RefusedError("a table is written as schema.table, without a database", position)
        if node.schemaname is None:
            if name not in ctes:
                raise RefusedError(
                    f"table {name} is written without its schema, or is not a table that can be"
                    f" read here: write {self.schema}.<table>",
                    position,
                )
        elif node.schemaname != self.schema:
            raise RefusedError(
                f"schema {node.schemaname} cannot be read: only {self.schema} can", position
            )
        elif name not in self.relations:
            known = ", ".join(sorted(self.relations))
            raise RefusedError(
                f"there is no table {self.schema}.{name} that can be read; there are: {known}",
                position,
            )
        else:
            self.used.add(name)
            columns = set(self.relations[name])
            self._declared |= columns
            self._column_names |= columns
        if node.alias is None:
            self._tables[name] += 1
        alias = node.alias.aliasname if node.alias else name
        if columns is None:
            self._derived.add(alias)
        else:
            renamed = names_of(node.alias.colnames if node.alias else None)
            self._columns_of[alias] |= columns.union(renamed)

    def _rangesubselect(self, node: _Node, _: frozenset[str]) -> None:
        if node.alias is not None:
            self._derived.add(node.alias.aliasname)

    _joinexpr = _rangesubselect

    def _rangefunction(self, node: _Node, _: frozenset[str]) -> None:
        """Note a table that may be one value, and its columns."""
        if node.alias is not None:
            name = node.alias.aliasname
            self._scalars[name] |= set(names_of(node.alias.colnames)) or {name}
            self._column_names.add(name)
            return
        for called, *_rest in node.functions:
            if not isinstance(called, ast.FuncCall):
                raise RefusedError("name what is in FROM: … AS name", position_of(called))
            name = names_of(called.funcname)[-1]
            self._scalars[name].add(name)
            self._tables[name] += 1

    def _alias(self, node: _Node, _: frozenset[str]) -> None:
        self._declare(node, node.aliasname, *names_of(node.colnames))
        self._column_names |= set(names_of(node.colnames))
        self._tables[node.aliasname] += 1

    def _restarget(self, node: _Node, _: frozenset[str]) -> None:
        if node.name is not None:
            self._declare(node, node.name)
            self._column_names.add(node.name)

    def _commontableexpr(self, node: _Node, _: frozenset[str]) -> None:
        self._declare(node, node.ctename, *names_of(node.aliascolnames))
        self._column_names |= set(names_of(node.aliascolnames))
        if not isinstance(node.ctequery, ast.SelectStmt):
            raise RefusedError(
                f"{statement_name(node.ctequery)} in WITH is not allowed: only SELECT is",
                position_of(node),
            )

    def _declare(self, node: _Node, *names: str) -> None:
        for name in names:
            if name.lower().startswith("pg_"):
                raise RefusedError(
                    f"the name {name} is Postgres's own: use another", position_of(node)
                )
        self._declared |= set(names)

    def _columnref(self, node: _Node, _: frozenset[str]) -> None:
        names = names_of(node.fields)
        if len(names) != len(node.fields):  # it ends with *
            if len(names) > 2 or (len(names) == 2 and names[0] != self.schema):
                raise RefusedError("write table.* or *", position_of(node))
            return
        if names[-1] in allowed.SYSTEM_COLUMNS:
            raise RefusedError(f"{names[-1]} is a system column", position_of(node))
        if len(names) > 1:
            self._attributes.append((names, node, False))

    def _a_indirection(self, node: _Node, _: frozenset[str]) -> None:
        """Refuse (row).name where name could be a function: Postgres would call it."""
        fields = [part for part in node.indirection if isinstance(part, ast.String)]
        if not fields:
            return
        names = names_of(fields)
        of = node.arg
        if isinstance(of, ast.FuncCall) and names in {("key",), ("value",)}:
            return
        if isinstance(of, ast.ColumnRef) and len(names) == 1 and node.indirection[0] == fields[0]:
            self._attributes.append(((*names_of(of.fields), *names), of, True))
            if names[-1] not in allowed.SYSTEM_COLUMNS:
                return
        raise RefusedError(
            f"(…).{names[0]} is not allowed: name columns as table.column", position_of(of)
        )

    def _check_attribute(self, names: tuple[str, ...], node: _Node, in_brackets: bool) -> None:
        """Refuse table.name unless name is a column: a function of a row is called alike.

        Postgres has no function of any row that is not harmless, but many of a single value: where
        ``table`` may be one, ``name`` must be known to be its column, or harmless as a function.
        """
        if len(names) == 3 and names[0] == self.schema:
            names = names[1:]
        if len(names) > 2:
            raise RefusedError(
                f"{'.'.join(names)} is not a column: write table.column", position_of(node)
            )
        table, column = names
        known = set(self._columns_of.get(table, ()))
        if table in self._derived or table in self._scalars or not known:
            known |= _HARMLESS
        if table in self._derived:
            known |= self._declared
        # (name) is a column first, and only then a table.
        if in_brackets and table in self._column_names | _HARMLESS:
            known = set(_HARMLESS)
        elif table in self._scalars:
            is_only_one = self._tables[table] == 1
            known = self._scalars[table] | _HARMLESS if is_only_one else set(_HARMLESS)
        if column not in known and not re.fullmatch(r"column\d+", column):
            raise RefusedError(
                f"{table} has no column {column}, or it cannot be told from a function: give"
                " each table a name of its own, and write table.column without brackets",
                position_of(node),
            )

    def _funccall(self, node: _Node, _: frozenset[str]) -> None:
        *schema, name = names_of(node.funcname)
        if schema not in ([], ["pg_catalog"]) or name not in allowed.FUNCTIONS:
            raise RefusedError(
                f"function {'.'.join([*schema, name])} is not allowed", position_of(node)
            )

    def _typename(self, node: _Node, _: frozenset[str]) -> None:
        *schema, name = names_of(node.names) or ("?",)
        if schema not in ([], ["pg_catalog"]) or name not in allowed.TYPES:
            raise RefusedError(
                f"type {'.'.join([*schema, name])} is not allowed", position_of(node)
            )
        if node.setof or node.pct_type:
            raise RefusedError("SETOF and %TYPE are not allowed", position_of(node))

    def _a_expr(self, node: _Node, _: frozenset[str]) -> None:
        if node.kind not in _BETWEEN:
            self._check_operator(node.name, node)

    def _sublink(self, node: _Node, _: frozenset[str]) -> None:
        if node.subLinkType in (SubLinkType.ANY_SUBLINK, SubLinkType.ALL_SUBLINK):
            self._check_operator(node.operName, node)

    def _sortby(self, node: _Node, _: frozenset[str]) -> None:
        self._check_operator(node.useOp, node)

    def _check_operator(self, parts: Iterable[_Node] | None, node: _Node) -> None:
        names = names_of(parts)
        if not names:  # IN and ORDER BY without one
            return
        *schema, name = names
        if schema not in ([], ["pg_catalog"]) or name not in allowed.OPERATORS:
            raise RefusedError(
                f"operator {'.'.join([*schema, name])} is not allowed", position_of(node)
            )

    def _sqlvaluefunction(self, node: _Node, _: frozenset[str]) -> None:
        if node.op not in _CLOCK:
            name = node.op.name.removeprefix("SVFOP_").lower()
            raise RefusedError(f"{name} is not allowed", position_of(node))

    def _collateclause(self, node: _Node, _: frozenset[str]) -> None:
        *schema, name = names_of(node.collname)
        if schema not in ([], ["pg_catalog"]) or name not in allowed.COLLATIONS:
            raise RefusedError(
                f"collation {'.'.join([*schema, name])} is not allowed", position_of(node)
            )


def _scopes(select: _Node, ctes: frozenset[str]) -> Iterator[tuple[_Node, frozenset[str]]]:
    """Give the parts of a SELECT, each with the names of WITH that it can see, as in Postgres."""
    visible = ctes
    if select.withClause is not None:
        queries = select.withClause.ctes
        if select.withClause.recursive:
            visible = ctes | {query.ctename for query in queries}
        for query in queries:
            yield query, visible
            visible = visible | {query.ctename}
    for child in children(select):
        if not isinstance(child, ast.WithClause):
            yield child, visible


def _node_reason(node: _Node) -> str:
    name = type(node).__name__
    if name.startswith("Xml"):
        return "XML functions are not allowed"
    if name.endswith("Stmt"):
        return f"{statement_name(node)} is not allowed: only SELECT is"
    return _NODE_REASONS.get(name, f"this part of SQL ({name}) is not allowed")
