{%- from "newest.sql" import newest_of -%}
-- When each ticket was first scanned; sorted, so that a range of tickets is found without reading all.
CREATE TEMP TABLE scans AS
SELECT ticket_id, min(scanned_at) AS checked_in_at
FROM (
    {{ newest_of("check_ins", "check_in_id", "ticket_id", scoped) }}
)
GROUP BY ticket_id
ORDER BY ticket_id
