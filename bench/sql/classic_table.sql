-- The table the classic statement fills, in the source itself, with the finished table's columns.
CREATE SCHEMA IF NOT EXISTS classic;
DROP TABLE IF EXISTS classic.daily_metrics;
CREATE TABLE classic.daily_metrics (
    {columns},
    PRIMARY KEY (business_date, organizer_id, event_id, currency)
);
