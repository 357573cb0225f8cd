"""``boxoffice import``: every row of a CSV file is loaded or refused by name, never dropped."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

from local.ticketing.importer import ImportReport, import_folder
from tests.deployment import Deployment

FESTIVAL = Path(__file__).parent.parent.parent / "shared" / "data" / "festival_ekb"
FIRST, LAST = "2022-04-21", "2022-07-03"


@pytest.mark.skipif(not FESTIVAL.is_dir(), reason=f"the festival's files are not in {FESTIVAL}")
def test_a_real_festival_gives_its_published_totals(
    make_deployment: Callable[..., Deployment], tmp_path: Path
) -> None:
    deployment = make_deployment(time_zone="Asia/Yekaterinburg", start_date="2022-04-21")
    report = import_folder(deployment.source_owner_url, FESTIVAL, tmp_path / "refused.csv")
    assert {name: (file.rows, file.refused) for name, file in report.files.items()} == {
        "organizers.csv": (8, 0),
        "events.csv": (100, 0),
        "orders.csv": (14_846, 0),
        "tickets.csv": (25_830, 0),
    }
    assert report.is_loaded
    assert report.created_ticket_types == 100
    assert report.files["tickets.csv"].ignored_columns == ["op_id"]

    deployment.run("refresh_days", FIRST, LAST)
    days = {
        str(row["business_date"]): (row["tickets_sold"], row["gross_revenue"])
        for row in deployment.rows(
            """SELECT business_date, sum(tickets_sold)::bigint AS tickets_sold,
                      sum(gross_revenue)::bigint AS gross_revenue
            FROM reporting.daily_metrics WHERE currency = 'RUB' GROUP BY business_date"""
        )
    }
    assert (len(days), sum(gross for _, gross in days.values())) == (74, 553_680_000)
    assert days["2022-04-21"] == (968, 23_110_000)
    assert days["2022-04-27"] == (3_941, 88_810_000)
    assert days["2022-06-05"] == (100, 2_180_000)
