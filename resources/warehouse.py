"""The warehouse as a resource: where finished tables are published.

Belongs here: how the pipeline reaches the warehouse. Does not belong here: tables, migrations and
publication (``warehouse``).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import psycopg

from warehouse import publish


@dataclass(frozen=True)
class Warehouse:
    """The warehouse, as the publisher role.

    Attributes:
        url: ``postgresql://`` URL.
    """

    url: str = field(repr=False)

    @contextmanager
    def connect(self) -> Iterator[psycopg.Connection[dict[str, Any]]]:
        """One connection, closed afterwards; statements commit by themselves."""
        with publish.connect(self.url) as connection:
            yield connection
