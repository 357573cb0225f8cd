"""The read API's statements: files of ``api/sql``, filled in where they depend on the registry.

Belongs here: loading and rendering a statement, once. Does not belong here: running it.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

from jinja2 import Environment, StrictUndefined

_FOLDER = Path(__file__).parent / "sql"
_ENVIRONMENT = Environment(undefined=StrictUndefined, autoescape=False)  # noqa: S701 - SQL


_NAMES: dict[bytes, str] = {}


@cache
def statement(name: str, **values: str | tuple[str, ...]) -> bytes:
    """A file of ``api/sql`` with its blocks filled in.

    Args:
        values: identifiers of datasets and metrics, never anything a user gave.
    """
    text = (_FOLDER / f"{name}.sql").read_text(encoding="utf-8")
    filled = _ENVIRONMENT.from_string(text).render(**values).encode()
    _NAMES[filled] = name
    return filled


def name_of(filled: bytes) -> str:
    """The file a statement came from; ``other`` for one of elsewhere."""
    return _NAMES.get(filled, "other")
