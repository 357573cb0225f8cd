"""A warehouse that has data is brought to this version, whatever version it has."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from alembic import command

from tests.deployment import SQL, Deployment
from warehouse import migrate
from warehouse.export_jobs import ExportRequest, create_job
from warehouse.publish import connect

SCHEMA = Path(__file__).parent.parent / "local" / "ticketing"
REQUEST = ExportRequest(
    requester="amina",
    role="admin",
    organizer_id=None,
    dataset="orders",
    filters={},
    columns=["order_id"],
    format="csv",
    options={},
)


@pytest.mark.parametrize("older", ["0005", "0004", "0003"])
def test_a_warehouse_with_data_is_migrated_from_an_older_version(
    deployment: Deployment, older: str
) -> None:
    owner = deployment.settings.warehouse_owner_url.get_secret_value()
    counted = "SELECT count(*), sum(gross_revenue)::bigint AS sum FROM reporting.daily_metrics"
    before = deployment.rows(counted)
    with migrate.engine(owner).begin() as connection:
        command.downgrade(migrate._config(connection), older)
    migrate.upgrade(owner)
    migrate.check(owner)
    assert deployment.rows(counted) == before
    assert len(deployment.rows("SELECT FROM ops.export_jobs")) == 1


@pytest.fixture(scope="module")
def deployment(make_deployment: Callable[..., Deployment]) -> Deployment:
    made = make_deployment()
    made.source(SCHEMA / "schema.sql", SCHEMA / "indexes.sql", SQL / "golden.sql")
    made.run("refresh_days", "2024-01-11", "2024-01-12")
    with connect(made.settings.warehouse_url.get_secret_value()) as connection:
        create_job(connection, REQUEST, "key")
    return made
