"""Rows that are inserted are added to the sums of their days, instead of summing the days anew."""

from alembic import op

revision = "0008"
down_revision = "0007"
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
COLUMNS = ", ".join(METRICS)
SUMS = ", ".join(f"sum({name})" for name in METRICS)
ADDED = ", ".join(f"{name} = kept.{name} + excluded.{name}" for name in METRICS)
SUM_DAYS = f"""
    DELETE FROM ops.organizer_days WHERE business_date = ANY (days);
    INSERT INTO ops.organizer_days (organizer_id, business_date, currency, {COLUMNS})
    SELECT organizer_id, business_date, currency, {SUMS}
    FROM reporting.daily_metrics
    WHERE business_date = ANY (days)
    GROUP BY business_date, organizer_id, currency
    ORDER BY business_date, organizer_id;
    RETURN NULL;
"""
OPENING = """
CREATE OR REPLACE FUNCTION ops.sum_organizer_days() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    days date[];
BEGIN
    IF TG_OP = 'TRUNCATE' THEN
        DELETE FROM ops.organizer_days;
        RETURN NULL;
"""
# A publication deletes a day and inserts it: what it inserts need not be read again, among the rows
# it deleted. Two transactions that insert rows of one day wait for each other at its sums.
ADDING = f"""
{OPENING}
    ELSIF TG_OP = 'INSERT' THEN
        INSERT INTO ops.organizer_days AS kept (organizer_id, business_date, currency, {COLUMNS})
        SELECT organizer_id, business_date, currency, {SUMS}
        FROM added
        GROUP BY business_date, organizer_id, currency
        ORDER BY business_date, organizer_id
        ON CONFLICT (organizer_id, business_date, currency) DO UPDATE SET {ADDED};
        RETURN NULL;
    ELSIF TG_OP = 'DELETE' THEN
        SELECT array_agg(DISTINCT business_date) INTO days FROM removed;
    ELSE
        SELECT array_agg(DISTINCT business_date) INTO days
        FROM (SELECT business_date FROM added UNION ALL SELECT business_date FROM removed) AS d;
    END IF;
    {SUM_DAYS}
END $$
"""
SUMMING = f"""
{OPENING}
    ELSIF TG_OP = 'INSERT' THEN
        SELECT array_agg(DISTINCT business_date) INTO days FROM added;
    ELSIF TG_OP = 'DELETE' THEN
        SELECT array_agg(DISTINCT business_date) INTO days FROM removed;
    ELSE
        SELECT array_agg(DISTINCT business_date) INTO days
        FROM (SELECT business_date FROM added UNION ALL SELECT business_date FROM removed) AS d;
    END IF;
    {SUM_DAYS}
END $$
"""


def upgrade() -> None:
    """Apply."""
    op.execute(ADDING)


def downgrade() -> None:
    """Revert."""
    op.execute(SUMMING)
