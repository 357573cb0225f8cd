"""The newest versions of a lake's rows, found in steps that each need little memory.

Belongs here: temporary tables that say which stored versions count, and ranges of keys of which
each has few rows. Does not belong here: the rows themselves (``exports.reading``).

One statement with several joins and a sort over millions of rows fails when the first of them has
taken the memory that the last one needs. So narrow steps find what few rows have several versions
or were moved; the wide rows are then joined and sorted range by range.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import duckdb

from exports.statements import render, run

SLICE_ROWS = 150_000
"""Rows of a range at most: they take about 80 MB to join and sort."""
_PARTS = 2_048

Range = tuple[int, int]
"""First and last key, both included."""


@dataclass(frozen=True, kw_only=True)
class StoredFact:
    """A fact whose rows are stored once for each day on which something happened to them.

    Attributes:
        key: tells its rows apart.
        link: tells which of its rows belong to the chosen rows of the dataset's first fact.
    """

    name: str
    key: str
    link: str

    @property
    def values(self) -> dict[str, str]:
        """As the statements call them."""
        return {"fact": self.name, "key": self.key, "link": self.link}


def _fact(name: str, key: str, link: str | None = None) -> StoredFact:
    return StoredFact(name=name, key=key, link=link or key)


HOLDERS = _fact("attendees", "ticket_id")
SCANS = _fact("check_ins", "check_in_id", "ticket_id")
STORED = {
    "attendees": _fact("tickets", "ticket_id"),
    "orders": _fact("orders", "order_id"),
    "requests": _fact("orders", "order_id"),
    "payments": _fact("payments", "payment_id"),
    "refunds": _fact("refunds", "refund_id"),
}
"""What the rows of a dataset's statement are."""


@dataclass(frozen=True)
class Versions:
    """Temporary tables of a session that say which stored versions of facts count.

    Attributes:
        scoped: whether only the rows of some events are asked for.
        fact: the dataset's own rows.
        joined: what is looked up for each of them.
    """

    connection: duckdb.DuckDBPyConnection
    scoped: bool
    fact: StoredFact
    joined: Sequence[StoredFact] = ()

    def prepare(self, parameters: dict[str, object]) -> None:
        """Make the tables.

        Args:
            parameters: ``organizer_id`` and ``events`` that are asked for.
        """
        if self.scoped:
            run(self.connection, render("scope.sql"), parameters)
            self._run("chosen.sql", self.fact)
        for fact in (self.fact, *self.joined):
            if self.scoped:
                self._run("strays.sql", fact)
            self._run("superseded.sql", fact)
        if SCANS in self.joined:
            self._run("scans.sql", SCANS)

    def is_one_event(self) -> bool:
        """Whether rows sorted by key are sorted by event too."""
        if not self.scoped:
            return False
        row = self.connection.execute("SELECT count(*) FROM scope").fetchone()
        return row is not None and row[0] <= 1

    def ranges(self, rows: int) -> list[Range]:
        """Ranges of keys, in their order, that hold every row and about so many each at most."""
        bounds = self._run("key_bounds.sql", self.fact).fetchone()
        if bounds is None or bounds[0] is None:
            return []
        return list(packed(cut(self._counts, bounds[0], bounds[1], rows), rows))

    def _counts(self, first: int, last: int, width: int) -> list[tuple[int, int]]:
        values = {"first": first, "last": last, "width": width}
        return self._run("key_counts.sql", self.fact, **values).fetchall()

    def _run(self, name: str, fact: StoredFact, **values: object) -> duckdb.DuckDBPyConnection:
        statement = render(name, scoped=self.scoped, **fact.values, **values)
        return self.connection.execute(statement)


def cut(
    counts: Callable[[int, int, int], list[tuple[int, int]]], first: int, last: int, rows: int
) -> Iterator[tuple[Range, int]]:
    """Cut a range of keys, however they are spread, into ones with at most so many rows.

    Args:
        counts: of a first and last key and a width, which parts of that width have how many rows.

    Returns:
        Ranges with their rows; of more only where one key has more.
    """
    width = -(-(last - first + 1) // _PARTS)
    for part, count in counts(first, last, width):
        start = first + part * width
        end = min(start + width - 1, last)
        if count > rows and width > 1:
            yield from cut(counts, start, end, rows)
        else:
            yield (start, end), count


def packed(pieces: Iterator[tuple[Range, int]], rows: int) -> Iterator[Range]:
    """Put ranges that follow each other together, as long as they have at most so many rows."""
    held: tuple[Range, int] | None = None
    for (start, end), count in pieces:
        if held is None:
            held = (start, end), count
        elif held[1] + count <= rows:
            held = (held[0][0], end), held[1] + count
        else:
            yield held[0]
            held = (start, end), count
    if held is not None:
        yield held[0]
