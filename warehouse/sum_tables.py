"""Sums that readers are given instead of many rows, as SQLAlchemy metadata.

Belongs here: tables that triggers keep equal to sums of finished tables. Does not belong here: the
finished tables (``warehouse.tables``), or the triggers (``warehouse/migrations``).
"""

from __future__ import annotations

import sqlalchemy as sa

from metrics.datasets import DAILY_METRICS
from metrics.registry import Distinct
from warehouse.tables import metadata

ORGANIZER_DAYS = sa.Table(
    "organizer_days",
    metadata,
    sa.Column(
        "organizer_id",
        sa.BigInteger(),
        primary_key=True,
        autoincrement=False,
        comment="Organizer of the events.",
    ),
    sa.Column(
        "business_date",
        sa.Date(),
        primary_key=True,
        comment="Reporting day in the reporting time zone.",
    ),
    sa.Column(
        "currency",
        sa.Text(),
        primary_key=True,
        comment="ISO 4217 code; money columns are its minor units.",
    ),
    *(
        sa.Column(
            metric.name,
            sa.BigInteger(),
            nullable=False,
            comment=f"Sum of reporting.daily_metrics.{metric.name}.",
        )
        for metric in DAILY_METRICS.metrics
        if not isinstance(metric, Distinct)
    ),
    sa.Index("organizer_days_business_date_idx", "business_date"),
    schema="ops",
    comment="Metrics that can be added up, by organizer and reporting day: kept by triggers of "
    "reporting.daily_metrics, in the transaction that changes it.",
)
