"""Sums of daily metrics by organizer and day, so that an organizer's year is a lookup."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

METRICS = [
    "requests",
    "checkouts",
    "page_views",
    "visitors",
    "orders",
    "free_orders",
    "paid_orders",
    "orders_cancelled",
    "orders_expired",
    "test_orders",
    "tickets_paid",
    "tickets_free",
    "tickets_comp",
    "tickets_sold",
    "tickets_cancelled",
    "check_ins",
    "face_value",
    "discounts",
    "ticket_revenue",
    "buyer_fees",
    "tax",
    "gross_revenue",
    "sale_reversals",
    "net_sales",
    "payments",
    "payments_count",
    "refunds",
    "refunds_count",
    "chargebacks",
    "net_collected",
    "platform_fees",
    "processing_fees",
    "organizer_net",
]
SUMS = f"""
INSERT INTO ops.organizer_days (organizer_id, business_date, currency, {", ".join(METRICS)})
SELECT organizer_id, business_date, currency, {", ".join(f"sum({name})" for name in METRICS)}
FROM reporting.daily_metrics
"""

# Fired by every statement that changes daily_metrics, so its transaction changes both or neither.
TRIGGERS = f"""
CREATE FUNCTION ops.sum_organizer_days() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    days date[];
BEGIN
    IF TG_OP = 'TRUNCATE' THEN
        DELETE FROM ops.organizer_days;
        RETURN NULL;
    ELSIF TG_OP = 'INSERT' THEN
        SELECT array_agg(DISTINCT business_date) INTO days FROM added;
    ELSIF TG_OP = 'DELETE' THEN
        SELECT array_agg(DISTINCT business_date) INTO days FROM removed;
    ELSE
        SELECT array_agg(DISTINCT business_date) INTO days
        FROM (SELECT business_date FROM added UNION ALL SELECT business_date FROM removed) AS d;
    END IF;
    DELETE FROM ops.organizer_days WHERE business_date = ANY (days);
    {SUMS.strip()}
    WHERE business_date = ANY (days)
    GROUP BY business_date, organizer_id, currency
    ORDER BY business_date, organizer_id;
    RETURN NULL;
END $$;
COMMENT ON FUNCTION ops.sum_organizer_days IS
    'Keeps ops.organizer_days the sums of reporting.daily_metrics.';
REVOKE EXECUTE ON FUNCTION ops.sum_organizer_days FROM PUBLIC;
CREATE TRIGGER organizer_days_insert AFTER INSERT ON reporting.daily_metrics
    REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION ops.sum_organizer_days();
CREATE TRIGGER organizer_days_delete AFTER DELETE ON reporting.daily_metrics
    REFERENCING OLD TABLE AS removed FOR EACH STATEMENT EXECUTE FUNCTION ops.sum_organizer_days();
CREATE TRIGGER organizer_days_update AFTER UPDATE ON reporting.daily_metrics
    REFERENCING OLD TABLE AS removed NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION ops.sum_organizer_days();
CREATE TRIGGER organizer_days_truncate AFTER TRUNCATE ON reporting.daily_metrics
    FOR EACH STATEMENT EXECUTE FUNCTION ops.sum_organizer_days();
"""

RIGHTS = """
GRANT SELECT ON ops.organizer_days
    TO boxoffice_publisher, boxoffice_organizer_reader, boxoffice_admin_reader;
ALTER TABLE ops.organizer_days ENABLE ROW LEVEL SECURITY;
CREATE POLICY publisher ON ops.organizer_days TO boxoffice_publisher USING (true);
CREATE POLICY all_rows ON ops.organizer_days FOR SELECT TO boxoffice_admin_reader USING (true);
CREATE POLICY own ON ops.organizer_days FOR SELECT TO boxoffice_organizer_reader USING (
    organizer_id = (SELECT nullif(current_setting('boxoffice.organizer_id', true), '')::bigint)
);
"""


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "organizer_days",
        sa.Column(
            "organizer_id",
            sa.BigInteger(),
            autoincrement=False,
            nullable=False,
            comment="Organizer of the events.",
        ),
        sa.Column(
            "business_date",
            sa.Date(),
            nullable=False,
            comment="Reporting day in the reporting time zone.",
        ),
        sa.Column(
            "currency",
            sa.Text(),
            nullable=False,
            comment="ISO 4217 code; money columns are its minor units.",
        ),
        *(
            sa.Column(
                name,
                sa.BigInteger(),
                nullable=False,
                comment=f"Sum of reporting.daily_metrics.{name}.",
            )
            for name in METRICS
        ),
        sa.PrimaryKeyConstraint(
            "organizer_id", "business_date", "currency", name=op.f("organizer_days_pkey")
        ),
        schema="ops",
        comment="Metrics that can be added up, by organizer and reporting day: kept by triggers of "
        "reporting.daily_metrics, in the transaction that changes it.",
    )
    op.create_index(
        "organizer_days_business_date_idx", "organizer_days", ["business_date"], schema="ops"
    )
    op.execute(RIGHTS)
    op.execute(TRIGGERS)
    op.execute(
        f"{SUMS} GROUP BY business_date, organizer_id, currency ORDER BY business_date, organizer_id"
    )


def downgrade() -> None:
    """Revert."""
    for name in ("insert", "delete", "update", "truncate"):
        op.execute(f"DROP TRIGGER organizer_days_{name} ON reporting.daily_metrics")
    op.execute("DROP FUNCTION ops.sum_organizer_days")
    op.drop_table("organizer_days", schema="ops")
