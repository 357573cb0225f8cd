"""The warehouse's statements: files of ``warehouse/sql``, filled in where they depend on datasets.

Belongs here: loading and rendering a statement. Does not belong here: running it.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files

from jinja2 import Environment, StrictUndefined, Template

_ENVIRONMENT = Environment(undefined=StrictUndefined, autoescape=False)  # noqa: S701 - SQL


@cache
def _template(name: str) -> Template:
    text = (files("warehouse") / "sql" / f"{name}.sql").read_text(encoding="utf-8")
    return _ENVIRONMENT.from_string(text)


def statement(name: str, **values: object) -> bytes:
    """A file of ``warehouse/sql`` with its blocks filled in.

    Args:
        values: identifiers of datasets and metrics, never anything a user gave.
    """
    return _template(name).render(**values).encode()
