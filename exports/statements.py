"""The statements of ``exports/sql``: rendering them and running them with bound values.

Belongs here: Jinja, and which values a statement is given. Does not belong here: what is read, or
in which order (``exports.reading``, ``exports.newest``).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

from jinja2 import Environment, FunctionLoader, StrictUndefined

if TYPE_CHECKING:
    import duckdb

_PARAMETER = re.compile(r"\$([a-z_]+)")


def run(
    connection: duckdb.DuckDBPyConnection, statement: str, values: Mapping[str, object]
) -> duckdb.DuckDBPyConnection:
    """Run a statement with those of the values it names; DuckDB refuses others."""
    names = set(_PARAMETER.findall(statement))
    return connection.execute(statement, {n: v for n, v in values.items() if n in names})


def render(name: str, **values: object) -> str:
    """A statement; a value that it needs and is not given is an error."""
    return _environment().get_template(name).render(**values)


@cache
def text(name: str) -> str:
    """A file of ``exports/sql``."""
    return (files("exports") / "sql" / name).read_text(encoding="utf-8")


@cache
def _environment() -> Environment:
    loader = FunctionLoader(text)
    return Environment(undefined=StrictUndefined, autoescape=False, loader=loader)  # noqa: S701 - SQL
