"""Finished tables and publications."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


ROLES_AND_SCHEMAS = """
DO $$
DECLARE role_name text;
BEGIN
    FOREACH role_name IN ARRAY ARRAY['boxoffice_publisher', 'boxoffice_reader'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = role_name) THEN
            EXECUTE format('CREATE ROLE %I NOLOGIN', role_name);
        END IF;
    END LOOP;
END $$;
CREATE SCHEMA reporting;
COMMENT ON SCHEMA reporting IS
    'Finished tables of Box Office: the only schema dashboards and BI tools read.';
COMMENT ON SCHEMA ops IS 'How the finished tables came to be: publications and extractions.';
CREATE SEQUENCE ops.attempts;
"""

GRANTS = """
GRANT USAGE ON SCHEMA reporting, ops TO boxoffice_publisher, boxoffice_reader;
GRANT SELECT ON ALL TABLES IN SCHEMA reporting, ops TO boxoffice_publisher, boxoffice_reader;
GRANT INSERT, DELETE ON ALL TABLES IN SCHEMA reporting TO boxoffice_publisher;
GRANT INSERT ON ops.publications TO boxoffice_publisher;
GRANT INSERT, UPDATE ON ops.extractions, ops.partitions TO boxoffice_publisher;
GRANT USAGE ON ALL SEQUENCES IN SCHEMA ops TO boxoffice_publisher;
"""


def upgrade() -> None:
    """Apply."""
    op.execute(ROLES_AND_SCHEMAS)
    op.create_table(
        "extractions",
        sa.Column("fact", sa.Text(), nullable=False, comment="Source fact, for example orders."),
        sa.Column("business_date", sa.Date(), nullable=False, comment="Reporting day extracted."),
        sa.Column(
            "source_snapshot_at",
            sa.DateTime(timezone=True),
            nullable=False,
            comment="Source transaction time: all committed before is included.",
        ),
        sa.Column(
            "lake_snapshot", sa.BigInteger(), nullable=False, comment="DuckLake snapshot made."
        ),
        sa.Column("row_count", sa.BigInteger(), nullable=False, comment="Rows in the lake."),
        sa.Column("run_id", sa.Text(), nullable=False, comment="Dagster run."),
        sa.PrimaryKeyConstraint("fact", "business_date", name=op.f("extractions_pkey")),
        schema="ops",
        comment="How far each reporting day of each source fact has been read.",
    )
    op.create_table(
        "publications",
        sa.Column(
            "publication_id",
            sa.BigInteger(),
            sa.Identity(always=True),
            nullable=False,
            comment="Order of publication.",
        ),
        sa.Column("dataset", sa.Text(), nullable=False, comment="Finished table."),
        sa.Column(
            "partition_key",
            sa.Text(),
            nullable=False,
            comment="First day of the partition (YYYY-MM-DD), or all for an unpartitioned table.",
        ),
        sa.Column("data_version", sa.Text(), nullable=False, comment="Hash of the rows' content."),
        sa.Column(
            "input_version",
            sa.BigInteger(),
            nullable=False,
            comment="Order of the input that was read: lake snapshot of a day, newest publication of a rollup's days. A lower one never replaces a higher one.",
        ),
        sa.Column(
            "attempt",
            sa.BigInteger(),
            nullable=False,
            comment="Drawn from ops.attempts when the step began; fences out older attempts.",
        ),
        sa.Column(
            "lake_snapshot", sa.BigInteger(), nullable=False, comment="DuckLake snapshot read."
        ),
        sa.Column(
            "source_watermark",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="Every source commit before it is in the rows; the oldest over all facts.",
        ),
        sa.Column(
            "is_complete",
            sa.Boolean(),
            nullable=False,
            comment="Whether the watermark has passed the end of the partition.",
        ),
        sa.Column("run_id", sa.Text(), nullable=False, comment="Dagster run."),
        sa.Column(
            "code_version", sa.Text(), nullable=False, comment="Hash of the statements used."
        ),
        sa.Column("row_count", sa.BigInteger(), nullable=False, comment="Rows published."),
        sa.Column(
            "control_sums",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=False,
            comment="Per currency, the sum of every metric; money in minor units.",
        ),
        sa.Column(
            "published_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
            comment="When the rows became visible to readers.",
        ),
        sa.PrimaryKeyConstraint("publication_id", name=op.f("publications_pkey")),
        schema="ops",
        comment="Append-only: one row for each version of a partition that readers were given.",
    )
    op.create_index(
        "publications_dataset_partition_key_idx",
        "publications",
        ["dataset", "partition_key", sa.literal_column("publication_id DESC")],
        unique=False,
        schema="ops",
    )
    op.create_table(
        "daily_metrics",
        sa.Column(
            "business_date",
            sa.Date(),
            autoincrement=False,
            nullable=False,
            comment="Reporting day in the reporting time zone.",
        ),
        sa.Column(
            "organizer_id",
            sa.BigInteger(),
            autoincrement=False,
            nullable=False,
            comment="Organizer of the event.",
        ),
        sa.Column(
            "event_id",
            sa.BigInteger(),
            autoincrement=False,
            nullable=False,
            comment="Event the movement belongs to.",
        ),
        sa.Column(
            "currency",
            sa.Text(),
            autoincrement=False,
            nullable=False,
            comment="ISO 4217 code; money columns are its minor units.",
        ),
        sa.Column(
            "requests",
            sa.BigInteger(),
            nullable=False,
            comment="Purchase requests: orders placed, whatever became of them. Count; on the day of: placed. sum(requests)",
        ),
        sa.Column(
            "checkouts",
            sa.BigInteger(),
            nullable=False,
            comment="Checkouts started. Count; on the day of: started. sum(checkouts)",
        ),
        sa.Column(
            "page_views",
            sa.BigInteger(),
            nullable=False,
            comment="Views of the event's page. Count; on the day of: viewed. sum(page_views)",
        ),
        sa.Column(
            "visitors",
            sa.BigInteger(),
            nullable=False,
            comment="Visitors of the event's page, counted per day and channel. Count; on the day of: viewed. sum(visitors)",
        ),
        sa.Column(
            "orders",
            sa.BigInteger(),
            nullable=False,
            comment="Orders completed: fully paid, or free and confirmed. Count; on the day of: completed. sum(orders)",
        ),
        sa.Column(
            "free_orders",
            sa.BigInteger(),
            nullable=False,
            comment="Completed orders with nothing to pay. Count; on the day of: completed. sum(free_orders)",
        ),
        sa.Column(
            "paid_orders",
            sa.BigInteger(),
            nullable=False,
            comment="Completed orders with something to pay: the denominator of the average order value. Count; on the day of: completed. orders - free_orders",
        ),
        sa.Column(
            "orders_cancelled",
            sa.BigInteger(),
            nullable=False,
            comment="Orders cancelled, before or after completion. Count; on the day of: cancelled. sum(orders_cancelled)",
        ),
        sa.Column(
            "orders_expired",
            sa.BigInteger(),
            nullable=False,
            comment="Orders that expired unpaid. Count; on the day of: expired. sum(orders_expired)",
        ),
        sa.Column(
            "test_orders",
            sa.BigInteger(),
            nullable=False,
            comment="Completed test-mode orders; in no other metric. Count; on the day of: completed. sum(test_orders)",
        ),
        sa.Column(
            "buyers",
            sa.BigInteger(),
            nullable=False,
            comment="Distinct buyers of completed orders, by e-mail, phone or account; exact at each grain. Count; on the day of: completed. count(DISTINCT buyer_key) where orders = 1",
        ),
        sa.Column(
            "tickets_paid",
            sa.BigInteger(),
            nullable=False,
            comment="Admissions sold at a price above zero. Count; on the day of: completed. sum(tickets_paid)",
        ),
        sa.Column(
            "tickets_free",
            sa.BigInteger(),
            nullable=False,
            comment="Admissions sold at price zero that are not comps. Count; on the day of: completed. sum(tickets_free)",
        ),
        sa.Column(
            "tickets_comp",
            sa.BigInteger(),
            nullable=False,
            comment="Complimentary admissions. Count; on the day of: completed. sum(tickets_comp)",
        ),
        sa.Column(
            "tickets_sold",
            sa.BigInteger(),
            nullable=False,
            comment="Admissions of completed orders; add-ons and donations are not tickets. Count; on the day of: completed. tickets_paid + tickets_free + tickets_comp",
        ),
        sa.Column(
            "tickets_cancelled",
            sa.BigInteger(),
            nullable=False,
            comment="Admissions cancelled after their sale. Count; on the day of: cancelled. sum(tickets_cancelled)",
        ),
        sa.Column(
            "check_ins",
            sa.BigInteger(),
            nullable=False,
            comment="Admissions scanned at the gate. Count; on the day of: scanned. sum(check_ins)",
        ),
        sa.Column(
            "face_value",
            sa.BigInteger(),
            nullable=False,
            comment="List price of everything sold, before discounts. Minor units of the row's currency; on the day of: completed. sum(face_value)",
        ),
        sa.Column(
            "discounts",
            sa.BigInteger(),
            nullable=False,
            comment="Reductions of the list price and of the order. Minor units of the row's currency; on the day of: completed. sum(discounts)",
        ),
        sa.Column(
            "ticket_revenue",
            sa.BigInteger(),
            nullable=False,
            comment="What was charged for tickets, add-ons and donations. Minor units of the row's currency; on the day of: completed. face_value - discounts",
        ),
        sa.Column(
            "buyer_fees",
            sa.BigInteger(),
            nullable=False,
            comment="Fees charged to buyers on top of the price. Minor units of the row's currency; on the day of: completed. sum(buyer_fees)",
        ),
        sa.Column(
            "tax",
            sa.BigInteger(),
            nullable=False,
            comment="Tax charged to buyers on top of the price. Minor units of the row's currency; on the day of: completed. sum(tax)",
        ),
        sa.Column(
            "gross_revenue",
            sa.BigInteger(),
            nullable=False,
            comment="What buyers were charged. Minor units of the row's currency; on the day of: completed. face_value + buyer_fees + tax - discounts",
        ),
        sa.Column(
            "sale_reversals",
            sa.BigInteger(),
            nullable=False,
            comment="Value un-sold by cancellation, less fees retained. Minor units of the row's currency; on the day of: cancelled. sum(sale_reversals)",
        ),
        sa.Column(
            "net_sales",
            sa.BigInteger(),
            nullable=False,
            comment="Gross revenue less sale reversals. Minor units of the row's currency; on the day of: each of its own day. face_value + buyer_fees + tax - discounts - sale_reversals",
        ),
        sa.Column(
            "payments",
            sa.BigInteger(),
            nullable=False,
            comment="Money received from buyers. Minor units of the row's currency; on the day of: confirmed. sum(payments)",
        ),
        sa.Column(
            "payments_count",
            sa.BigInteger(),
            nullable=False,
            comment="Payments confirmed. Count; on the day of: confirmed. sum(payments_count)",
        ),
        sa.Column(
            "refunds",
            sa.BigInteger(),
            nullable=False,
            comment="Money returned to buyers. Minor units of the row's currency; on the day of: succeeded. sum(refunds)",
        ),
        sa.Column(
            "refunds_count",
            sa.BigInteger(),
            nullable=False,
            comment="Refunds succeeded. Count; on the day of: succeeded. sum(refunds_count)",
        ),
        sa.Column(
            "chargebacks",
            sa.BigInteger(),
            nullable=False,
            comment="Disputed money withdrawn by the bank, less what it reinstated. Minor units of the row's currency; on the day of: withdrawn or reinstated. sum(chargebacks)",
        ),
        sa.Column(
            "net_collected",
            sa.BigInteger(),
            nullable=False,
            comment="Payments less refunds and chargebacks. Minor units of the row's currency; on the day of: each of its own day. payments - refunds - chargebacks",
        ),
        sa.Column(
            "platform_fees",
            sa.BigInteger(),
            nullable=False,
            comment="The platform's fees, less what refunds return of them. Minor units of the row's currency; on the day of: completed; returned on the refund's day. sum(platform_fees)",
        ),
        sa.Column(
            "processing_fees",
            sa.BigInteger(),
            nullable=False,
            comment="Payment providers' fees for payments and disputes, less what refunds return of them. Minor units of the row's currency; on the day of: confirmed or withdrawn; returned on the refund's day. sum(processing_fees)",
        ),
        sa.Column(
            "organizer_net",
            sa.BigInteger(),
            nullable=False,
            comment="What is left to the organizer: net collected less platform and processing fees. Minor units of the row's currency; on the day of: each of its own day. payments - refunds - chargebacks - platform_fees - processing_fees",
        ),
        sa.CheckConstraint(
            "gross_revenue = face_value + buyer_fees + tax - discounts",
            name=op.f("daily_metrics_gross_revenue_check"),
        ),
        sa.CheckConstraint(
            "net_collected = payments - refunds - chargebacks",
            name=op.f("daily_metrics_net_collected_check"),
        ),
        sa.CheckConstraint(
            "net_sales = face_value + buyer_fees + tax - discounts - sale_reversals",
            name=op.f("daily_metrics_net_sales_check"),
        ),
        sa.CheckConstraint(
            "organizer_net = payments - refunds - chargebacks - platform_fees - processing_fees",
            name=op.f("daily_metrics_organizer_net_check"),
        ),
        sa.CheckConstraint(
            "paid_orders = orders - free_orders", name=op.f("daily_metrics_paid_orders_check")
        ),
        sa.CheckConstraint(
            "ticket_revenue = face_value - discounts",
            name=op.f("daily_metrics_ticket_revenue_check"),
        ),
        sa.CheckConstraint(
            "tickets_sold = tickets_paid + tickets_free + tickets_comp",
            name=op.f("daily_metrics_tickets_sold_check"),
        ),
        sa.PrimaryKeyConstraint(
            "business_date", "organizer_id", "event_id", "currency", name=op.f("daily_metrics_pkey")
        ),
        schema="reporting",
        comment="Every metric per reporting day and event. Events on sale without a movement have a row of zeros, so that no sales and not loaded are told apart.",
    )
    op.create_index(
        "daily_metrics_event_id_business_date_idx",
        "daily_metrics",
        ["event_id", "business_date"],
        unique=False,
        schema="reporting",
    )
    op.create_index(
        "daily_metrics_organizer_id_business_date_idx",
        "daily_metrics",
        ["organizer_id", "business_date"],
        unique=False,
        schema="reporting",
    )
    op.create_table(
        "daily_payments",
        sa.Column(
            "business_date",
            sa.Date(),
            autoincrement=False,
            nullable=False,
            comment="Reporting day in the reporting time zone.",
        ),
        sa.Column(
            "organizer_id",
            sa.BigInteger(),
            autoincrement=False,
            nullable=False,
            comment="Organizer of the event.",
        ),
        sa.Column(
            "event_id",
            sa.BigInteger(),
            autoincrement=False,
            nullable=False,
            comment="Event the movement belongs to.",
        ),
        sa.Column(
            "currency",
            sa.Text(),
            autoincrement=False,
            nullable=False,
            comment="ISO 4217 code; money columns are its minor units.",
        ),
        sa.Column(
            "provider",
            sa.Text(),
            autoincrement=False,
            nullable=False,
            comment="Payment provider, for example MPESA or CARD.",
        ),
        sa.Column(
            "instrument",
            sa.Text(),
            autoincrement=False,
            nullable=False,
            comment="What the buyer paid with, for example mpesa or visa.",
        ),
        sa.Column(
            "payments",
            sa.BigInteger(),
            nullable=False,
            comment="Money received from buyers. Minor units of the row's currency; on the day of: confirmed. sum(payments)",
        ),
        sa.Column(
            "payments_count",
            sa.BigInteger(),
            nullable=False,
            comment="Payments confirmed. Count; on the day of: confirmed. sum(payments_count)",
        ),
        sa.Column(
            "refunds",
            sa.BigInteger(),
            nullable=False,
            comment="Money returned to buyers. Minor units of the row's currency; on the day of: succeeded. sum(refunds)",
        ),
        sa.Column(
            "refunds_count",
            sa.BigInteger(),
            nullable=False,
            comment="Refunds succeeded. Count; on the day of: succeeded. sum(refunds_count)",
        ),
        sa.Column(
            "chargebacks",
            sa.BigInteger(),
            nullable=False,
            comment="Disputed money withdrawn by the bank, less what it reinstated. Minor units of the row's currency; on the day of: withdrawn or reinstated. sum(chargebacks)",
        ),
        sa.Column(
            "net_collected",
            sa.BigInteger(),
            nullable=False,
            comment="Payments less refunds and chargebacks. Minor units of the row's currency; on the day of: each of its own day. payments - refunds - chargebacks",
        ),
        sa.Column(
            "processing_fees",
            sa.BigInteger(),
            nullable=False,
            comment="Payment providers' fees for payments and disputes, less what refunds return of them. Minor units of the row's currency; on the day of: confirmed or withdrawn; returned on the refund's day. sum(processing_fees)",
        ),
        sa.CheckConstraint(
            "net_collected = payments - refunds - chargebacks",
            name=op.f("daily_payments_net_collected_check"),
        ),
        sa.PrimaryKeyConstraint(
            "business_date",
            "organizer_id",
            "event_id",
            "currency",
            "provider",
            "instrument",
            name=op.f("daily_payments_pkey"),
        ),
        schema="reporting",
        comment="Money in and out per reporting day, event, payment provider and instrument.",
    )
    op.create_index(
        "daily_payments_event_id_business_date_idx",
        "daily_payments",
        ["event_id", "business_date"],
        unique=False,
        schema="reporting",
    )
    op.create_index(
        "daily_payments_organizer_id_business_date_idx",
        "daily_payments",
        ["organizer_id", "business_date"],
        unique=False,
        schema="reporting",
    )
    op.create_table(
        "daily_ticket_types",
        sa.Column(
            "business_date",
            sa.Date(),
            autoincrement=False,
            nullable=False,
            comment="Reporting day in the reporting time zone.",
        ),
        sa.Column(
            "organizer_id",
            sa.BigInteger(),
            autoincrement=False,
            nullable=False,
            comment="Organizer of the event.",
        ),
        sa.Column(
            "event_id",
            sa.BigInteger(),
            autoincrement=False,
            nullable=False,
            comment="Event the movement belongs to.",
        ),
        sa.Column(
            "currency",
            sa.Text(),
            autoincrement=False,
            nullable=False,
            comment="ISO 4217 code; money columns are its minor units.",
        ),
        sa.Column(
            "ticket_type_id",
            sa.BigInteger(),
            autoincrement=False,
            nullable=False,
            comment="Ticket type sold, cancelled or scanned.",
        ),
        sa.Column(
            "ticket_type_name",
            sa.Text(),
            autoincrement=False,
            nullable=False,
            comment="Name of the ticket type.",
        ),
        sa.Column(
            "ticket_type_kind",
            sa.Text(),
            autoincrement=False,
            nullable=False,
            comment="admission, add_on or donation.",
        ),
        sa.Column(
            "tickets_paid",
            sa.BigInteger(),
            nullable=False,
            comment="Admissions sold at a price above zero. Count; on the day of: completed. sum(tickets_paid)",
        ),
        sa.Column(
            "tickets_free",
            sa.BigInteger(),
            nullable=False,
            comment="Admissions sold at price zero that are not comps. Count; on the day of: completed. sum(tickets_free)",
        ),
        sa.Column(
            "tickets_comp",
            sa.BigInteger(),
            nullable=False,
            comment="Complimentary admissions. Count; on the day of: completed. sum(tickets_comp)",
        ),
        sa.Column(
            "tickets_sold",
            sa.BigInteger(),
            nullable=False,
            comment="Admissions of completed orders; add-ons and donations are not tickets. Count; on the day of: completed. tickets_paid + tickets_free + tickets_comp",
        ),
        sa.Column(
            "tickets_cancelled",
            sa.BigInteger(),
            nullable=False,
            comment="Admissions cancelled after their sale. Count; on the day of: cancelled. sum(tickets_cancelled)",
        ),
        sa.Column(
            "check_ins",
            sa.BigInteger(),
            nullable=False,
            comment="Admissions scanned at the gate. Count; on the day of: scanned. sum(check_ins)",
        ),
        sa.Column(
            "face_value",
            sa.BigInteger(),
            nullable=False,
            comment="List price of everything sold, before discounts. Minor units of the row's currency; on the day of: completed. sum(face_value)",
        ),
        sa.Column(
            "discounts",
            sa.BigInteger(),
            nullable=False,
            comment="Reductions of the list price and of the order. Minor units of the row's currency; on the day of: completed. sum(discounts)",
        ),
        sa.Column(
            "ticket_revenue",
            sa.BigInteger(),
            nullable=False,
            comment="What was charged for tickets, add-ons and donations. Minor units of the row's currency; on the day of: completed. face_value - discounts",
        ),
        sa.Column(
            "sale_reversals",
            sa.BigInteger(),
            nullable=False,
            comment="Value un-sold by cancellation, less fees retained. Minor units of the row's currency; on the day of: cancelled. sum(sale_reversals)",
        ),
        sa.CheckConstraint(
            "ticket_revenue = face_value - discounts",
            name=op.f("daily_ticket_types_ticket_revenue_check"),
        ),
        sa.CheckConstraint(
            "tickets_sold = tickets_paid + tickets_free + tickets_comp",
            name=op.f("daily_ticket_types_tickets_sold_check"),
        ),
        sa.PrimaryKeyConstraint(
            "business_date",
            "organizer_id",
            "event_id",
            "currency",
            "ticket_type_id",
            name=op.f("daily_ticket_types_pkey"),
        ),
        schema="reporting",
        comment="Tickets, add-ons and donations per reporting day and ticket type.",
    )
    op.create_index(
        "daily_ticket_types_event_id_business_date_idx",
        "daily_ticket_types",
        ["event_id", "business_date"],
        unique=False,
        schema="reporting",
    )
    op.create_index(
        "daily_ticket_types_organizer_id_business_date_idx",
        "daily_ticket_types",
        ["organizer_id", "business_date"],
        unique=False,
        schema="reporting",
    )
    op.create_table(
        "event_summary",
        sa.Column(
            "event_id",
            sa.BigInteger(),
            autoincrement=False,
            nullable=False,
            comment="Event the movement belongs to.",
        ),
        sa.Column(
            "organizer_id",
            sa.BigInteger(),
            autoincrement=False,
            nullable=False,
            comment="Organizer of the event.",
        ),
        sa.Column(
            "organizer_name",
            sa.Text(),
            autoincrement=False,
            nullable=False,
            comment="Name of the organizer.",
        ),
        sa.Column(
            "event_name",
            sa.Text(),
            autoincrement=False,
            nullable=False,
            comment="Name of the event.",
        ),
        sa.Column(
            "category", sa.Text(), autoincrement=False, nullable=True, comment="Kind of event."
        ),
        sa.Column(
            "venue", sa.Text(), autoincrement=False, nullable=True, comment="Where it takes place."
        ),
        sa.Column(
            "event_time_zone",
            sa.Text(),
            autoincrement=False,
            nullable=False,
            comment="Time zone of the venue.",
        ),
        sa.Column(
            "currency",
            sa.Text(),
            autoincrement=False,
            nullable=False,
            comment="ISO 4217 code; money columns are its minor units.",
        ),
        sa.Column(
            "status",
            sa.Text(),
            autoincrement=False,
            nullable=False,
            comment="State of the event on the platform.",
        ),
        sa.Column(
            "capacity",
            sa.BigInteger(),
            autoincrement=False,
            nullable=True,
            comment="Admissions that can be sold.",
        ),
        sa.Column(
            "on_sale_at",
            sa.DateTime(timezone=True),
            autoincrement=False,
            nullable=True,
            comment="Start of sales.",
        ),
        sa.Column(
            "starts_at",
            sa.DateTime(timezone=True),
            autoincrement=False,
            nullable=True,
            comment="Start of the event.",
        ),
        sa.Column(
            "ends_at",
            sa.DateTime(timezone=True),
            autoincrement=False,
            nullable=True,
            comment="End of the event.",
        ),
        sa.Column(
            "first_sale_date",
            sa.Date(),
            autoincrement=False,
            nullable=True,
            comment="First reporting day with an order.",
        ),
        sa.Column(
            "last_sale_date",
            sa.Date(),
            autoincrement=False,
            nullable=True,
            comment="Last reporting day with an order.",
        ),
        sa.Column(
            "requests",
            sa.BigInteger(),
            nullable=False,
            comment="Purchase requests: orders placed, whatever became of them. Count; on the day of: placed. sum(requests)",
        ),
        sa.Column(
            "checkouts",
            sa.BigInteger(),
            nullable=False,
            comment="Checkouts started. Count; on the day of: started. sum(checkouts)",
        ),
        sa.Column(
            "page_views",
            sa.BigInteger(),
            nullable=False,
            comment="Views of the event's page. Count; on the day of: viewed. sum(page_views)",
        ),
        sa.Column(
            "visitors",
            sa.BigInteger(),
            nullable=False,
            comment="Visitors of the event's page, counted per day and channel. Count; on the day of: viewed. sum(visitors)",
        ),
        sa.Column(
            "orders",
            sa.BigInteger(),
            nullable=False,
            comment="Orders completed: fully paid, or free and confirmed. Count; on the day of: completed. sum(orders)",
        ),
        sa.Column(
            "free_orders",
            sa.BigInteger(),
            nullable=False,
            comment="Completed orders with nothing to pay. Count; on the day of: completed. sum(free_orders)",
        ),
        sa.Column(
            "paid_orders",
            sa.BigInteger(),
            nullable=False,
            comment="Completed orders with something to pay: the denominator of the average order value. Count; on the day of: completed. orders - free_orders",
        ),
        sa.Column(
            "orders_cancelled",
            sa.BigInteger(),
            nullable=False,
            comment="Orders cancelled, before or after completion. Count; on the day of: cancelled. sum(orders_cancelled)",
        ),
        sa.Column(
            "orders_expired",
            sa.BigInteger(),
            nullable=False,
            comment="Orders that expired unpaid. Count; on the day of: expired. sum(orders_expired)",
        ),
        sa.Column(
            "test_orders",
            sa.BigInteger(),
            nullable=False,
            comment="Completed test-mode orders; in no other metric. Count; on the day of: completed. sum(test_orders)",
        ),
        sa.Column(
            "buyers",
            sa.BigInteger(),
            nullable=False,
            comment="Distinct buyers of completed orders, by e-mail, phone or account; exact at each grain. Count; on the day of: completed. count(DISTINCT buyer_key) where orders = 1",
        ),
        sa.Column(
            "tickets_paid",
            sa.BigInteger(),
            nullable=False,
            comment="Admissions sold at a price above zero. Count; on the day of: completed. sum(tickets_paid)",
        ),
        sa.Column(
            "tickets_free",
            sa.BigInteger(),
            nullable=False,
            comment="Admissions sold at price zero that are not comps. Count; on the day of: completed. sum(tickets_free)",
        ),
        sa.Column(
            "tickets_comp",
            sa.BigInteger(),
            nullable=False,
            comment="Complimentary admissions. Count; on the day of: completed. sum(tickets_comp)",
        ),
        sa.Column(
            "tickets_sold",
            sa.BigInteger(),
            nullable=False,
            comment="Admissions of completed orders; add-ons and donations are not tickets. Count; on the day of: completed. tickets_paid + tickets_free + tickets_comp",
        ),
        sa.Column(
            "tickets_cancelled",
            sa.BigInteger(),
            nullable=False,
            comment="Admissions cancelled after their sale. Count; on the day of: cancelled. sum(tickets_cancelled)",
        ),
        sa.Column(
            "check_ins",
            sa.BigInteger(),
            nullable=False,
            comment="Admissions scanned at the gate. Count; on the day of: scanned. sum(check_ins)",
        ),
        sa.Column(
            "face_value",
            sa.BigInteger(),
            nullable=False,
            comment="List price of everything sold, before discounts. Minor units of the row's currency; on the day of: completed. sum(face_value)",
        ),
        sa.Column(
            "discounts",
            sa.BigInteger(),
            nullable=False,
            comment="Reductions of the list price and of the order. Minor units of the row's currency; on the day of: completed. sum(discounts)",
        ),
        sa.Column(
            "ticket_revenue",
            sa.BigInteger(),
            nullable=False,
            comment="What was charged for tickets, add-ons and donations. Minor units of the row's currency; on the day of: completed. face_value - discounts",
        ),
        sa.Column(
            "buyer_fees",
            sa.BigInteger(),
            nullable=False,
            comment="Fees charged to buyers on top of the price. Minor units of the row's currency; on the day of: completed. sum(buyer_fees)",
        ),
        sa.Column(
            "tax",
            sa.BigInteger(),
            nullable=False,
            comment="Tax charged to buyers on top of the price. Minor units of the row's currency; on the day of: completed. sum(tax)",
        ),
        sa.Column(
            "gross_revenue",
            sa.BigInteger(),
            nullable=False,
            comment="What buyers were charged. Minor units of the row's currency; on the day of: completed. face_value + buyer_fees + tax - discounts",
        ),
        sa.Column(
            "sale_reversals",
            sa.BigInteger(),
            nullable=False,
            comment="Value un-sold by cancellation, less fees retained. Minor units of the row's currency; on the day of: cancelled. sum(sale_reversals)",
        ),
        sa.Column(
            "net_sales",
            sa.BigInteger(),
            nullable=False,
            comment="Gross revenue less sale reversals. Minor units of the row's currency; on the day of: each of its own day. face_value + buyer_fees + tax - discounts - sale_reversals",
        ),
        sa.Column(
            "payments",
            sa.BigInteger(),
            nullable=False,
            comment="Money received from buyers. Minor units of the row's currency; on the day of: confirmed. sum(payments)",
        ),
        sa.Column(
            "payments_count",
            sa.BigInteger(),
            nullable=False,
            comment="Payments confirmed. Count; on the day of: confirmed. sum(payments_count)",
        ),
        sa.Column(
            "refunds",
            sa.BigInteger(),
            nullable=False,
            comment="Money returned to buyers. Minor units of the row's currency; on the day of: succeeded. sum(refunds)",
        ),
        sa.Column(
            "refunds_count",
            sa.BigInteger(),
            nullable=False,
            comment="Refunds succeeded. Count; on the day of: succeeded. sum(refunds_count)",
        ),
        sa.Column(
            "chargebacks",
            sa.BigInteger(),
            nullable=False,
            comment="Disputed money withdrawn by the bank, less what it reinstated. Minor units of the row's currency; on the day of: withdrawn or reinstated. sum(chargebacks)",
        ),
        sa.Column(
            "net_collected",
            sa.BigInteger(),
            nullable=False,
            comment="Payments less refunds and chargebacks. Minor units of the row's currency; on the day of: each of its own day. payments - refunds - chargebacks",
        ),
        sa.Column(
            "platform_fees",
            sa.BigInteger(),
            nullable=False,
            comment="The platform's fees, less what refunds return of them. Minor units of the row's currency; on the day of: completed; returned on the refund's day. sum(platform_fees)",
        ),
        sa.Column(
            "processing_fees",
            sa.BigInteger(),
            nullable=False,
            comment="Payment providers' fees for payments and disputes, less what refunds return of them. Minor units of the row's currency; on the day of: confirmed or withdrawn; returned on the refund's day. sum(processing_fees)",
        ),
        sa.Column(
            "organizer_net",
            sa.BigInteger(),
            nullable=False,
            comment="What is left to the organizer: net collected less platform and processing fees. Minor units of the row's currency; on the day of: each of its own day. payments - refunds - chargebacks - platform_fees - processing_fees",
        ),
        sa.CheckConstraint(
            "gross_revenue = face_value + buyer_fees + tax - discounts",
            name=op.f("event_summary_gross_revenue_check"),
        ),
        sa.CheckConstraint(
            "net_collected = payments - refunds - chargebacks",
            name=op.f("event_summary_net_collected_check"),
        ),
        sa.CheckConstraint(
            "net_sales = face_value + buyer_fees + tax - discounts - sale_reversals",
            name=op.f("event_summary_net_sales_check"),
        ),
        sa.CheckConstraint(
            "organizer_net = payments - refunds - chargebacks - platform_fees - processing_fees",
            name=op.f("event_summary_organizer_net_check"),
        ),
        sa.CheckConstraint(
            "paid_orders = orders - free_orders", name=op.f("event_summary_paid_orders_check")
        ),
        sa.CheckConstraint(
            "ticket_revenue = face_value - discounts",
            name=op.f("event_summary_ticket_revenue_check"),
        ),
        sa.CheckConstraint(
            "tickets_sold = tickets_paid + tickets_free + tickets_comp",
            name=op.f("event_summary_tickets_sold_check"),
        ),
        sa.PrimaryKeyConstraint("event_id", name=op.f("event_summary_pkey")),
        schema="reporting",
        comment="One row per event: what it is, and its metrics over all published days.",
    )
    op.create_index(
        "event_summary_organizer_id_starts_at_idx",
        "event_summary",
        ["organizer_id", "starts_at"],
        unique=False,
        schema="reporting",
    )
    op.create_table(
        "monthly_revenue",
        sa.Column(
            "month_start",
            sa.Date(),
            autoincrement=False,
            nullable=False,
            comment="First day of the calendar month.",
        ),
        sa.Column(
            "organizer_id",
            sa.BigInteger(),
            autoincrement=False,
            nullable=False,
            comment="Organizer of the event.",
        ),
        sa.Column(
            "event_id",
            sa.BigInteger(),
            autoincrement=False,
            nullable=False,
            comment="Event the movement belongs to.",
        ),
        sa.Column(
            "currency",
            sa.Text(),
            autoincrement=False,
            nullable=False,
            comment="ISO 4217 code; money columns are its minor units.",
        ),
        sa.Column(
            "requests",
            sa.BigInteger(),
            nullable=False,
            comment="Purchase requests: orders placed, whatever became of them. Count; on the day of: placed. sum(requests)",
        ),
        sa.Column(
            "checkouts",
            sa.BigInteger(),
            nullable=False,
            comment="Checkouts started. Count; on the day of: started. sum(checkouts)",
        ),
        sa.Column(
            "page_views",
            sa.BigInteger(),
            nullable=False,
            comment="Views of the event's page. Count; on the day of: viewed. sum(page_views)",
        ),
        sa.Column(
            "visitors",
            sa.BigInteger(),
            nullable=False,
            comment="Visitors of the event's page, counted per day and channel. Count; on the day of: viewed. sum(visitors)",
        ),
        sa.Column(
            "orders",
            sa.BigInteger(),
            nullable=False,
            comment="Orders completed: fully paid, or free and confirmed. Count; on the day of: completed. sum(orders)",
        ),
        sa.Column(
            "free_orders",
            sa.BigInteger(),
            nullable=False,
            comment="Completed orders with nothing to pay. Count; on the day of: completed. sum(free_orders)",
        ),
        sa.Column(
            "paid_orders",
            sa.BigInteger(),
            nullable=False,
            comment="Completed orders with something to pay: the denominator of the average order value. Count; on the day of: completed. orders - free_orders",
        ),
        sa.Column(
            "orders_cancelled",
            sa.BigInteger(),
            nullable=False,
            comment="Orders cancelled, before or after completion. Count; on the day of: cancelled. sum(orders_cancelled)",
        ),
        sa.Column(
            "orders_expired",
            sa.BigInteger(),
            nullable=False,
            comment="Orders that expired unpaid. Count; on the day of: expired. sum(orders_expired)",
        ),
        sa.Column(
            "test_orders",
            sa.BigInteger(),
            nullable=False,
            comment="Completed test-mode orders; in no other metric. Count; on the day of: completed. sum(test_orders)",
        ),
        sa.Column(
            "buyers",
            sa.BigInteger(),
            nullable=False,
            comment="Distinct buyers of completed orders, by e-mail, phone or account; exact at each grain. Count; on the day of: completed. count(DISTINCT buyer_key) where orders = 1",
        ),
        sa.Column(
            "tickets_paid",
            sa.BigInteger(),
            nullable=False,
            comment="Admissions sold at a price above zero. Count; on the day of: completed. sum(tickets_paid)",
        ),
        sa.Column(
            "tickets_free",
            sa.BigInteger(),
            nullable=False,
            comment="Admissions sold at price zero that are not comps. Count; on the day of: completed. sum(tickets_free)",
        ),
        sa.Column(
            "tickets_comp",
            sa.BigInteger(),
            nullable=False,
            comment="Complimentary admissions. Count; on the day of: completed. sum(tickets_comp)",
        ),
        sa.Column(
            "tickets_sold",
            sa.BigInteger(),
            nullable=False,
            comment="Admissions of completed orders; add-ons and donations are not tickets. Count; on the day of: completed. tickets_paid + tickets_free + tickets_comp",
        ),
        sa.Column(
            "tickets_cancelled",
            sa.BigInteger(),
            nullable=False,
            comment="Admissions cancelled after their sale. Count; on the day of: cancelled. sum(tickets_cancelled)",
        ),
        sa.Column(
            "check_ins",
            sa.BigInteger(),
            nullable=False,
            comment="Admissions scanned at the gate. Count; on the day of: scanned. sum(check_ins)",
        ),
        sa.Column(
            "face_value",
            sa.BigInteger(),
            nullable=False,
            comment="List price of everything sold, before discounts. Minor units of the row's currency; on the day of: completed. sum(face_value)",
        ),
        sa.Column(
            "discounts",
            sa.BigInteger(),
            nullable=False,
            comment="Reductions of the list price and of the order. Minor units of the row's currency; on the day of: completed. sum(discounts)",
        ),
        sa.Column(
            "ticket_revenue",
            sa.BigInteger(),
            nullable=False,
            comment="What was charged for tickets, add-ons and donations. Minor units of the row's currency; on the day of: completed. face_value - discounts",
        ),
        sa.Column(
            "buyer_fees",
            sa.BigInteger(),
            nullable=False,
            comment="Fees charged to buyers on top of the price. Minor units of the row's currency; on the day of: completed. sum(buyer_fees)",
        ),
        sa.Column(
            "tax",
            sa.BigInteger(),
            nullable=False,
            comment="Tax charged to buyers on top of the price. Minor units of the row's currency; on the day of: completed. sum(tax)",
        ),
        sa.Column(
            "gross_revenue",
            sa.BigInteger(),
            nullable=False,
            comment="What buyers were charged. Minor units of the row's currency; on the day of: completed. face_value + buyer_fees + tax - discounts",
        ),
        sa.Column(
            "sale_reversals",
            sa.BigInteger(),
            nullable=False,
            comment="Value un-sold by cancellation, less fees retained. Minor units of the row's currency; on the day of: cancelled. sum(sale_reversals)",
        ),
        sa.Column(
            "net_sales",
            sa.BigInteger(),
            nullable=False,
            comment="Gross revenue less sale reversals. Minor units of the row's currency; on the day of: each of its own day. face_value + buyer_fees + tax - discounts - sale_reversals",
        ),
        sa.Column(
            "payments",
            sa.BigInteger(),
            nullable=False,
            comment="Money received from buyers. Minor units of the row's currency; on the day of: confirmed. sum(payments)",
        ),
        sa.Column(
            "payments_count",
            sa.BigInteger(),
            nullable=False,
            comment="Payments confirmed. Count; on the day of: confirmed. sum(payments_count)",
        ),
        sa.Column(
            "refunds",
            sa.BigInteger(),
            nullable=False,
            comment="Money returned to buyers. Minor units of the row's currency; on the day of: succeeded. sum(refunds)",
        ),
        sa.Column(
            "refunds_count",
            sa.BigInteger(),
            nullable=False,
            comment="Refunds succeeded. Count; on the day of: succeeded. sum(refunds_count)",
        ),
        sa.Column(
            "chargebacks",
            sa.BigInteger(),
            nullable=False,
            comment="Disputed money withdrawn by the bank, less what it reinstated. Minor units of the row's currency; on the day of: withdrawn or reinstated. sum(chargebacks)",
        ),
        sa.Column(
            "net_collected",
            sa.BigInteger(),
            nullable=False,
            comment="Payments less refunds and chargebacks. Minor units of the row's currency; on the day of: each of its own day. payments - refunds - chargebacks",
        ),
        sa.Column(
            "platform_fees",
            sa.BigInteger(),
            nullable=False,
            comment="The platform's fees, less what refunds return of them. Minor units of the row's currency; on the day of: completed; returned on the refund's day. sum(platform_fees)",
        ),
        sa.Column(
            "processing_fees",
            sa.BigInteger(),
            nullable=False,
            comment="Payment providers' fees for payments and disputes, less what refunds return of them. Minor units of the row's currency; on the day of: confirmed or withdrawn; returned on the refund's day. sum(processing_fees)",
        ),
        sa.Column(
            "organizer_net",
            sa.BigInteger(),
            nullable=False,
            comment="What is left to the organizer: net collected less platform and processing fees. Minor units of the row's currency; on the day of: each of its own day. payments - refunds - chargebacks - platform_fees - processing_fees",
        ),
        sa.CheckConstraint(
            "gross_revenue = face_value + buyer_fees + tax - discounts",
            name=op.f("monthly_revenue_gross_revenue_check"),
        ),
        sa.CheckConstraint(
            "net_collected = payments - refunds - chargebacks",
            name=op.f("monthly_revenue_net_collected_check"),
        ),
        sa.CheckConstraint(
            "net_sales = face_value + buyer_fees + tax - discounts - sale_reversals",
            name=op.f("monthly_revenue_net_sales_check"),
        ),
        sa.CheckConstraint(
            "organizer_net = payments - refunds - chargebacks - platform_fees - processing_fees",
            name=op.f("monthly_revenue_organizer_net_check"),
        ),
        sa.CheckConstraint(
            "paid_orders = orders - free_orders", name=op.f("monthly_revenue_paid_orders_check")
        ),
        sa.CheckConstraint(
            "ticket_revenue = face_value - discounts",
            name=op.f("monthly_revenue_ticket_revenue_check"),
        ),
        sa.CheckConstraint(
            "tickets_sold = tickets_paid + tickets_free + tickets_comp",
            name=op.f("monthly_revenue_tickets_sold_check"),
        ),
        sa.PrimaryKeyConstraint(
            "month_start", "organizer_id", "event_id", "currency", name=op.f("monthly_revenue_pkey")
        ),
        schema="reporting",
        comment="Every metric per calendar month and event: the sum of its days; buyers counted anew.",
    )
    op.create_index(
        "monthly_revenue_event_id_month_start_idx",
        "monthly_revenue",
        ["event_id", "month_start"],
        unique=False,
        schema="reporting",
    )
    op.create_index(
        "monthly_revenue_organizer_id_month_start_idx",
        "monthly_revenue",
        ["organizer_id", "month_start"],
        unique=False,
        schema="reporting",
    )
    op.create_table(
        "weekly_revenue",
        sa.Column(
            "week_start",
            sa.Date(),
            autoincrement=False,
            nullable=False,
            comment="Monday of the ISO week.",
        ),
        sa.Column(
            "organizer_id",
            sa.BigInteger(),
            autoincrement=False,
            nullable=False,
            comment="Organizer of the event.",
        ),
        sa.Column(
            "event_id",
            sa.BigInteger(),
            autoincrement=False,
            nullable=False,
            comment="Event the movement belongs to.",
        ),
        sa.Column(
            "currency",
            sa.Text(),
            autoincrement=False,
            nullable=False,
            comment="ISO 4217 code; money columns are its minor units.",
        ),
        sa.Column(
            "iso_week",
            sa.Text(),
            autoincrement=False,
            nullable=False,
            comment="ISO 8601 week, for example 2025-W01.",
        ),
        sa.Column(
            "requests",
            sa.BigInteger(),
            nullable=False,
            comment="Purchase requests: orders placed, whatever became of them. Count; on the day of: placed. sum(requests)",
        ),
        sa.Column(
            "checkouts",
            sa.BigInteger(),
            nullable=False,
            comment="Checkouts started. Count; on the day of: started. sum(checkouts)",
        ),
        sa.Column(
            "page_views",
            sa.BigInteger(),
            nullable=False,
            comment="Views of the event's page. Count; on the day of: viewed. sum(page_views)",
        ),
        sa.Column(
            "visitors",
            sa.BigInteger(),
            nullable=False,
            comment="Visitors of the event's page, counted per day and channel. Count; on the day of: viewed. sum(visitors)",
        ),
        sa.Column(
            "orders",
            sa.BigInteger(),
            nullable=False,
            comment="Orders completed: fully paid, or free and confirmed. Count; on the day of: completed. sum(orders)",
        ),
        sa.Column(
            "free_orders",
            sa.BigInteger(),
            nullable=False,
            comment="Completed orders with nothing to pay. Count; on the day of: completed. sum(free_orders)",
        ),
        sa.Column(
            "paid_orders",
            sa.BigInteger(),
            nullable=False,
            comment="Completed orders with something to pay: the denominator of the average order value. Count; on the day of: completed. orders - free_orders",
        ),
        sa.Column(
            "orders_cancelled",
            sa.BigInteger(),
            nullable=False,
            comment="Orders cancelled, before or after completion. Count; on the day of: cancelled. sum(orders_cancelled)",
        ),
        sa.Column(
            "orders_expired",
            sa.BigInteger(),
            nullable=False,
            comment="Orders that expired unpaid. Count; on the day of: expired. sum(orders_expired)",
        ),
        sa.Column(
            "test_orders",
            sa.BigInteger(),
            nullable=False,
            comment="Completed test-mode orders; in no other metric. Count; on the day of: completed. sum(test_orders)",
        ),
        sa.Column(
            "buyers",
            sa.BigInteger(),
            nullable=False,
            comment="Distinct buyers of completed orders, by e-mail, phone or account; exact at each grain. Count; on the day of: completed. count(DISTINCT buyer_key) where orders = 1",
        ),
        sa.Column(
            "tickets_paid",
            sa.BigInteger(),
            nullable=False,
            comment="Admissions sold at a price above zero. Count; on the day of: completed. sum(tickets_paid)",
        ),
        sa.Column(
            "tickets_free",
            sa.BigInteger(),
            nullable=False,
            comment="Admissions sold at price zero that are not comps. Count; on the day of: completed. sum(tickets_free)",
        ),
        sa.Column(
            "tickets_comp",
            sa.BigInteger(),
            nullable=False,
            comment="Complimentary admissions. Count; on the day of: completed. sum(tickets_comp)",
        ),
        sa.Column(
            "tickets_sold",
            sa.BigInteger(),
            nullable=False,
            comment="Admissions of completed orders; add-ons and donations are not tickets. Count; on the day of: completed. tickets_paid + tickets_free + tickets_comp",
        ),
        sa.Column(
            "tickets_cancelled",
            sa.BigInteger(),
            nullable=False,
            comment="Admissions cancelled after their sale. Count; on the day of: cancelled. sum(tickets_cancelled)",
        ),
        sa.Column(
            "check_ins",
            sa.BigInteger(),
            nullable=False,
            comment="Admissions scanned at the gate. Count; on the day of: scanned. sum(check_ins)",
        ),
        sa.Column(
            "face_value",
            sa.BigInteger(),
            nullable=False,
            comment="List price of everything sold, before discounts. Minor units of the row's currency; on the day of: completed. sum(face_value)",
        ),
        sa.Column(
            "discounts",
            sa.BigInteger(),
            nullable=False,
            comment="Reductions of the list price and of the order. Minor units of the row's currency; on the day of: completed. sum(discounts)",
        ),
        sa.Column(
            "ticket_revenue",
            sa.BigInteger(),
            nullable=False,
            comment="What was charged for tickets, add-ons and donations. Minor units of the row's currency; on the day of: completed. face_value - discounts",
        ),
        sa.Column(
            "buyer_fees",
            sa.BigInteger(),
            nullable=False,
            comment="Fees charged to buyers on top of the price. Minor units of the row's currency; on the day of: completed. sum(buyer_fees)",
        ),
        sa.Column(
            "tax",
            sa.BigInteger(),
            nullable=False,
            comment="Tax charged to buyers on top of the price. Minor units of the row's currency; on the day of: completed. sum(tax)",
        ),
        sa.Column(
            "gross_revenue",
            sa.BigInteger(),
            nullable=False,
            comment="What buyers were charged. Minor units of the row's currency; on the day of: completed. face_value + buyer_fees + tax - discounts",
        ),
        sa.Column(
            "sale_reversals",
            sa.BigInteger(),
            nullable=False,
            comment="Value un-sold by cancellation, less fees retained. Minor units of the row's currency; on the day of: cancelled. sum(sale_reversals)",
        ),
        sa.Column(
            "net_sales",
            sa.BigInteger(),
            nullable=False,
            comment="Gross revenue less sale reversals. Minor units of the row's currency; on the day of: each of its own day. face_value + buyer_fees + tax - discounts - sale_reversals",
        ),
        sa.Column(
            "payments",
            sa.BigInteger(),
            nullable=False,
            comment="Money received from buyers. Minor units of the row's currency; on the day of: confirmed. sum(payments)",
        ),
        sa.Column(
            "payments_count",
            sa.BigInteger(),
            nullable=False,
            comment="Payments confirmed. Count; on the day of: confirmed. sum(payments_count)",
        ),
        sa.Column(
            "refunds",
            sa.BigInteger(),
            nullable=False,
            comment="Money returned to buyers. Minor units of the row's currency; on the day of: succeeded. sum(refunds)",
        ),
        sa.Column(
            "refunds_count",
            sa.BigInteger(),
            nullable=False,
            comment="Refunds succeeded. Count; on the day of: succeeded. sum(refunds_count)",
        ),
        sa.Column(
            "chargebacks",
            sa.BigInteger(),
            nullable=False,
            comment="Disputed money withdrawn by the bank, less what it reinstated. Minor units of the row's currency; on the day of: withdrawn or reinstated. sum(chargebacks)",
        ),
        sa.Column(
            "net_collected",
            sa.BigInteger(),
            nullable=False,
            comment="Payments less refunds and chargebacks. Minor units of the row's currency; on the day of: each of its own day. payments - refunds - chargebacks",
        ),
        sa.Column(
            "platform_fees",
            sa.BigInteger(),
            nullable=False,
            comment="The platform's fees, less what refunds return of them. Minor units of the row's currency; on the day of: completed; returned on the refund's day. sum(platform_fees)",
        ),
        sa.Column(
            "processing_fees",
            sa.BigInteger(),
            nullable=False,
            comment="Payment providers' fees for payments and disputes, less what refunds return of them. Minor units of the row's currency; on the day of: confirmed or withdrawn; returned on the refund's day. sum(processing_fees)",
        ),
        sa.Column(
            "organizer_net",
            sa.BigInteger(),
            nullable=False,
            comment="What is left to the organizer: net collected less platform and processing fees. Minor units of the row's currency; on the day of: each of its own day. payments - refunds - chargebacks - platform_fees - processing_fees",
        ),
        sa.CheckConstraint(
            "gross_revenue = face_value + buyer_fees + tax - discounts",
            name=op.f("weekly_revenue_gross_revenue_check"),
        ),
        sa.CheckConstraint(
            "net_collected = payments - refunds - chargebacks",
            name=op.f("weekly_revenue_net_collected_check"),
        ),
        sa.CheckConstraint(
            "net_sales = face_value + buyer_fees + tax - discounts - sale_reversals",
            name=op.f("weekly_revenue_net_sales_check"),
        ),
        sa.CheckConstraint(
            "organizer_net = payments - refunds - chargebacks - platform_fees - processing_fees",
            name=op.f("weekly_revenue_organizer_net_check"),
        ),
        sa.CheckConstraint(
            "paid_orders = orders - free_orders", name=op.f("weekly_revenue_paid_orders_check")
        ),
        sa.CheckConstraint(
            "ticket_revenue = face_value - discounts",
            name=op.f("weekly_revenue_ticket_revenue_check"),
        ),
        sa.CheckConstraint(
            "tickets_sold = tickets_paid + tickets_free + tickets_comp",
            name=op.f("weekly_revenue_tickets_sold_check"),
        ),
        sa.PrimaryKeyConstraint(
            "week_start", "organizer_id", "event_id", "currency", name=op.f("weekly_revenue_pkey")
        ),
        schema="reporting",
        comment="Every metric per ISO week and event: the sum of its days; buyers counted anew.",
    )
    op.create_index(
        "weekly_revenue_event_id_week_start_idx",
        "weekly_revenue",
        ["event_id", "week_start"],
        unique=False,
        schema="reporting",
    )
    op.create_index(
        "weekly_revenue_organizer_id_week_start_idx",
        "weekly_revenue",
        ["organizer_id", "week_start"],
        unique=False,
        schema="reporting",
    )
    op.create_table(
        "partitions",
        sa.Column("dataset", sa.Text(), nullable=False, comment="Finished table."),
        sa.Column(
            "partition_key",
            sa.Text(),
            nullable=False,
            comment="First day of the partition (YYYY-MM-DD), or all for an unpartitioned table.",
        ),
        sa.Column(
            "publication_id",
            sa.BigInteger(),
            nullable=False,
            comment="The version that readers see.",
        ),
        sa.Column("data_version", sa.Text(), nullable=False, comment="Hash of the rows' content."),
        sa.Column(
            "input_version",
            sa.BigInteger(),
            nullable=False,
            comment="Order of the input that was read: lake snapshot of a day, newest publication of a rollup's days. A lower one never replaces a higher one.",
        ),
        sa.Column(
            "attempt",
            sa.BigInteger(),
            nullable=False,
            comment="Drawn from ops.attempts when the step began; fences out older attempts.",
        ),
        sa.Column(
            "lake_snapshot", sa.BigInteger(), nullable=False, comment="DuckLake snapshot read."
        ),
        sa.Column(
            "source_watermark",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="Every source commit before it is in the rows; the oldest over all facts.",
        ),
        sa.Column(
            "is_complete",
            sa.Boolean(),
            nullable=False,
            comment="Whether the watermark has passed the end of the partition.",
        ),
        sa.Column("run_id", sa.Text(), nullable=False, comment="Dagster run."),
        sa.Column(
            "code_version", sa.Text(), nullable=False, comment="Hash of the statements used."
        ),
        sa.Column(
            "checked_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
            comment="When the content was last compared with its input.",
        ),
        sa.ForeignKeyConstraint(
            ["publication_id"],
            ["ops.publications.publication_id"],
        ),
        sa.PrimaryKeyConstraint("dataset", "partition_key", name=op.f("partitions_pkey")),
        schema="ops",
        comment="What readers see now: one row for each partition, with the newest input compared.",
    )
    op.execute(GRANTS)


def downgrade() -> None:
    """Revert."""
    op.drop_table("partitions", schema="ops")
    op.drop_index(
        "weekly_revenue_organizer_id_week_start_idx",
        table_name="weekly_revenue",
        schema="reporting",
    )
    op.drop_index(
        "weekly_revenue_event_id_week_start_idx", table_name="weekly_revenue", schema="reporting"
    )
    op.drop_table("weekly_revenue", schema="reporting")
    op.drop_index(
        "monthly_revenue_organizer_id_month_start_idx",
        table_name="monthly_revenue",
        schema="reporting",
    )
    op.drop_index(
        "monthly_revenue_event_id_month_start_idx", table_name="monthly_revenue", schema="reporting"
    )
    op.drop_table("monthly_revenue", schema="reporting")
    op.drop_index(
        "event_summary_organizer_id_starts_at_idx", table_name="event_summary", schema="reporting"
    )
    op.drop_table("event_summary", schema="reporting")
    op.drop_index(
        "daily_ticket_types_organizer_id_business_date_idx",
        table_name="daily_ticket_types",
        schema="reporting",
    )
    op.drop_index(
        "daily_ticket_types_event_id_business_date_idx",
        table_name="daily_ticket_types",
        schema="reporting",
    )
    op.drop_table("daily_ticket_types", schema="reporting")
    op.drop_index(
        "daily_payments_organizer_id_business_date_idx",
        table_name="daily_payments",
        schema="reporting",
    )
    op.drop_index(
        "daily_payments_event_id_business_date_idx", table_name="daily_payments", schema="reporting"
    )
    op.drop_table("daily_payments", schema="reporting")
    op.drop_index(
        "daily_metrics_organizer_id_business_date_idx",
        table_name="daily_metrics",
        schema="reporting",
    )
    op.drop_index(
        "daily_metrics_event_id_business_date_idx", table_name="daily_metrics", schema="reporting"
    )
    op.drop_table("daily_metrics", schema="reporting")
    op.drop_index("publications_dataset_partition_key_idx", table_name="publications", schema="ops")
    op.drop_table("publications", schema="ops")
    op.drop_table("extractions", schema="ops")
    op.execute("DROP SEQUENCE ops.attempts; DROP SCHEMA reporting")
