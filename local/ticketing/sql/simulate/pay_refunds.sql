-- The refunds waiting longest are paid.
UPDATE refunds SET status = 'succeeded', succeeded_at = %(now)s, updated_at = %(now)s
WHERE refund_id IN (SELECT refund_id FROM refunds WHERE status = 'requested' AND requested_at < %(now)s
                    ORDER BY requested_at LIMIT %(wanted)s)
