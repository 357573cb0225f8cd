"""What always holds in the sample platform's rows, checked in the database itself.

Belongs here: running ``invariants.sql``. Does not belong here: the rules, which are that file.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import psycopg

INVARIANTS_SQL = Path(__file__).parent / "invariants.sql"


def violations(url: str, now: datetime) -> dict[str, int]:
    """Rows that break each broken rule; empty if everything holds.

    Args:
        url: ``postgresql://`` URL of the platform's database.
        now: The platform's present: no row may be stamped later.
    """
    with psycopg.connect(url) as connection:
        rows = connection.execute(INVARIANTS_SQL.read_bytes(), {"now": now}).fetchall()
    return {str(rule): int(count) for rule, count in rows if count}
