"""Runs in the environment of dlt and dbt: extract reporting days with dlt, then build with dbt."""

# mypy: ignore-errors

import os
import time

BEGAN = time.time()

from pathlib import Path  # noqa: E402

import dlt  # noqa: E402
import sqlalchemy as sa  # noqa: E402
from dbt.cli.main import dbtRunner  # noqa: E402
from dlt.sources.sql_database import sql_table  # noqa: E402

from bench.measure import Stages, write_report  # noqa: E402

# Table, the columns the models read, and the columns whose days decide what is extracted.
TABLES = {
    "events": (
        "event_id organizer_id currency on_sale_at starts_at ends_at status cancelled_at",
        "",
    ),
    "ticket_types": (
        "ticket_type_id kind",
        "",
    ),
    "orders": (
        (
            "order_id event_id customer_id buyer_email buyer_phone channel currency"
            " discount_minor buyer_fees_minor tax_minor total_minor platform_fee_minor is_test"
            " placed_at completed_at cancelled_at expired_at updated_at"
        ),
        "placed_at completed_at cancelled_at expired_at",
    ),
    "tickets": (
        (
            "ticket_id order_id event_id ticket_type_id currency list_price_minor charged_minor"
            " is_comp issued_at cancelled_at unsold_minor retained_fee_minor is_test updated_at"
        ),
        "issued_at cancelled_at",
    ),
    "payments": (
        (
            "payment_id order_id event_id provider instrument currency amount_minor"
            " processing_fee_minor is_test confirmed_at updated_at"
        ),
        "confirmed_at",
    ),
    "refunds": (
        (
            "refund_id order_id event_id provider instrument currency amount_minor"
            " platform_fee_returned_minor processing_fee_returned_minor is_test succeeded_at"
        ),
        "succeeded_at",
    ),
    "disputes": (
        (
            "dispute_id order_id event_id provider instrument currency amount_minor fee_minor"
            " is_test withdrawn_at reinstated_at updated_at"
        ),
        "withdrawn_at reinstated_at",
    ),
    "check_ins": (
        ("check_in_id ticket_id order_id event_id ticket_type_id is_test scanned_at uploaded_at"),
        "scanned_at",
    ),
    "checkouts": (
        "checkout_id event_id order_id channel is_test started_at converted_at updated_at",
        "started_at",
    ),
    "page_views": (
        "event_id view_date channel page_views visitors updated_at",
        "view_date",
    ),
}


def only_days(days: str):
    """Restrict a table's query to the days of the run."""

    def restrict(query, table):
        ranges: list[sa.ColumnElement[bool] | sa.TextClause] = []
        for name in days.split():
            column = table.c[name]
            if name == "view_date":
                ranges.append(
                    sa.text(
                        f"view_date BETWEEN '{os.environ['BENCH_FIRST']}'"
                        f" AND '{os.environ['BENCH_LAST']}'"
                    )
                )
            else:
                ranges.append(
                    sa.and_(
                        column >= sa.text(f"TIMESTAMPTZ '{os.environ['BENCH_START']}'"),
                        column < sa.text(f"TIMESTAMPTZ '{os.environ['BENCH_END']}'"),
                    )
                )
        return query.where(sa.or_(*ranges))

    return restrict


def main() -> None:
    """Load, build, report."""
    stages = Stages()
    url = os.environ["BENCH_SOURCE_URL"]
    backend = os.environ["BENCH_BACKEND"]
    # connectorx otherwise holds a whole table in memory.
    options = {"return_type": "arrow_stream", "conn": url} if backend == "connectorx" else None
    resources = [
        sql_table(
            credentials=url.replace("postgresql://", "postgresql+psycopg2://"),
            schema="public",
            table=table,
            backend=backend,
            backend_kwargs=dict(options) if options else None,
            chunk_size=200_000,
            included_columns=columns.split(),
            query_adapter_callback=only_days(days) if days else None,
            write_disposition="replace",
        )
        for table, (columns, days) in TABLES.items()
    ]
    with stages.stage("dlt"):
        pipeline = dlt.pipeline(
            "bench",
            destination=dlt.destinations.duckdb(os.environ["BENCH_DATABASE"]),
            dataset_name="raw",
            pipelines_dir=str(Path(os.environ["BENCH_PROJECT"]) / "dlt"),
        )
        pipeline.run(resources, loader_file_format="parquet")
    rows = sum(
        count
        for table, count in pipeline.last_trace.last_normalize_info.row_counts.items()
        if table in TABLES
    )
    with stages.stage("dbt"):
        project = os.environ["BENCH_PROJECT"]
        result = dbtRunner().invoke(["build", "--project-dir", project, "--profiles-dir", project])
    if not result.success:
        raise SystemExit(f"dbt failed: {result.exception or result.result}")
    write_report(Path(os.environ["BENCH_REPORT"]), BEGAN, stages, {"rows": rows})


if __name__ == "__main__":
    main()
