-- The disputes open longest are won back.
UPDATE disputes SET status = 'reinstated', reinstated_at = %(now)s, updated_at = %(now)s
WHERE dispute_id IN (SELECT dispute_id FROM disputes WHERE status = 'withdrawn' AND withdrawn_at < %(now)s
                     ORDER BY withdrawn_at LIMIT %(wanted)s)
