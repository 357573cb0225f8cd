"""Reading a parse tree: names, places and parts of its nodes.

Belongs here: what a node says of itself. Does not belong here: whether it is allowed
(``api.adhoc.gate``).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

from pglast import ast

# Its stubs call every field of a node optional; what is there depends on the grammar.
Node = Any

_STATEMENTS = {
    "AlterRoleSetStmt": "ALTER ROLE",
    "CallStmt": "CALL",
    "CopyStmt": "COPY",
    "CreateTableAsStmt": "CREATE TABLE AS",
    "DeleteStmt": "DELETE",
    "ExplainStmt": "EXPLAIN",
    "InsertStmt": "INSERT",
    "MergeStmt": "MERGE",
    "TransactionStmt": "transaction control",
    "UpdateStmt": "UPDATE",
    "VariableSetStmt": "SET",
    "VariableShowStmt": "SHOW",
}


def statement_name(node: Node) -> str:
    """What a statement is called in SQL, for example ``CREATE TABLE AS``."""
    name = type(node).__name__
    words = re.sub(r"(?<!^)(?=[A-Z])", " ", name.removesuffix("Stmt")).upper()
    return _STATEMENTS.get(name, words)


def position_of(node: Node) -> int | None:
    """Character of the text a node begins at, from 1; None where it does not say."""
    location = getattr(node, "location", None)
    return location + 1 if isinstance(location, int) and location >= 0 else None


def children(node: Node) -> Iterator[Node]:
    """The nodes directly below a node, in no particular order."""
    pending: list[Any] = [getattr(node, name) for name in node]
    while pending:
        value = pending.pop()
        if isinstance(value, ast.Node):
            yield value
        elif isinstance(value, tuple):
            pending.extend(value)


def names_of(parts: Iterable[Node] | None) -> tuple[str, ...]:
    """The texts of a dotted name; what is not a text, such as ``*``, is left out."""
    return tuple(str(part.sval) for part in parts or () if isinstance(part, ast.String))
