-- Entries that do not follow from the one before, or whose content is not what was hashed.
WITH chain AS (
    SELECT l.entry, l.hash, l.previous_hash,
           lag(l.entry, 1, 0::bigint) OVER w + 1 AS expected_entry,
           lag(l.hash, 1, decode(repeat('00', 32), 'hex')) OVER w AS expected_previous,
           ops.access_hash(l) AS computed
    FROM ops.access_log AS l WINDOW w AS (ORDER BY l.entry)
)
SELECT entry, expected_entry,
       entry <> expected_entry AS is_gap,
       hash <> computed AS is_altered,
       previous_hash <> expected_previous AS is_unchained
FROM chain
WHERE entry <> expected_entry OR hash <> computed OR previous_hash <> expected_previous
ORDER BY entry
