"""The read API's statements: files of ``api/sql``, filled in where they depend on the registry.

Belongs here: loading and rendering a statement, once. Does not belong here: running it.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

from jinja2 import Environment, StrictUndefined

_FOLDER = Path(__file__).parent / "sql"
_ENVIRONMENT = Environment(undefined=StrictUndefined, autoescape=False)  # noqa: S701 - SQL


@cache
def statement(name: str, **values: str | tuple[str, ...]) -> bytes:
    """A file of ``api/sql`` with its blocks filled in.

    Args:
        values: identifiers of datasets and metrics, never anything a user gave.
    """
    text = (_FOLDER / f"{name}.sql").read_text(encoding="utf-8")
    return _ENVIRONMENT.from_string(text).render(**values).encode()
