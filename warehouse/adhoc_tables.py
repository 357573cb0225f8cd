"""The ops table of ad-hoc SQL: what administrators asked, and what became of it.

Belongs here: columns, keys, constraints and comments. Does not belong here: writing rows
(``api.adhoc.audit``).
"""

from __future__ import annotations

import sqlalchemy as sa

from warehouse.tables import metadata

__all__ = ["ADHOC_QUERIES", "metadata"]

ADHOC_QUERIES = sa.Table(
    "adhoc_queries",
    metadata,
    sa.Column(
        "entry", sa.BigInteger(), sa.Identity(always=True), primary_key=True, comment="Order."
    ),
    sa.Column(
        "ends",
        sa.BigInteger(),
        sa.ForeignKey("ops.adhoc_queries.entry"),
        nullable=True,
        unique=True,
        comment="Entry of the allowed statement whose end this is; none where one was asked.",
    ),
    sa.Column("account", sa.Text(), nullable=False, comment="Account that asked."),
    sa.Column("role", sa.Text(), nullable=False, comment="Its role then: admin or super_admin."),
    sa.Column(
        "statement",
        sa.Text(),
        nullable=True,
        comment="The text; of a longer one its first 20,000 characters. None where it ends one.",
    ),
    sa.Column(
        "characters", sa.BigInteger(), nullable=True, comment="Length of the text as it was given."
    ),
    sa.Column(
        "outcome",
        sa.Text(),
        nullable=False,
        comment="refused or allowed; of an allowed one later succeeded, failed or cancelled.",
    ),
    sa.Column(
        "reason", sa.Text(), nullable=True, comment="Why it was refused, failed or was cancelled."
    ),
    sa.Column("row_count", sa.BigInteger(), nullable=True, comment="Rows given."),
    sa.Column(
        "truncated", sa.Text(), nullable=True, comment="Cap that cut the answer: rows or bytes."
    ),
    sa.Column("milliseconds", sa.BigInteger(), nullable=True, comment="How long it ran."),
    sa.Column(
        "recorded_at",
        sa.DateTime(timezone=True),
        nullable=False,
        server_default=sa.text("clock_timestamp()"),
        comment="When.",
    ),
    sa.CheckConstraint("btrim(account) <> ''", name="account"),
    sa.CheckConstraint("role IN ('admin', 'super_admin')", name="role"),
    sa.CheckConstraint(
        "CASE WHEN ends IS NULL THEN outcome IN ('refused', 'allowed')"
        " AND num_nulls(statement, characters) = 0"
        " AND num_nonnulls(row_count, truncated, milliseconds) = 0"
        " ELSE outcome IN ('succeeded', 'failed', 'cancelled')"
        " AND num_nonnulls(statement, characters) = 0 AND milliseconds IS NOT NULL END",
        name="outcome",
    ),
    sa.CheckConstraint(
        "(outcome IN ('refused', 'failed', 'cancelled')) = (reason IS NOT NULL)", name="reason"
    ),
    sa.CheckConstraint("(outcome = 'succeeded') = (row_count IS NOT NULL)", name="row_count"),
    sa.CheckConstraint("truncated IN ('rows', 'bytes')", name="truncated"),
    sa.Index("adhoc_queries_account_idx", "account", "entry"),
    schema="ops",
    comment="Append-only: every ad-hoc statement that was asked, before it ran, and how it ended.",
)
