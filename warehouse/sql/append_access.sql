-- An entry of the access log; the database chains it to the one before.
SELECT entry, encode(hash, 'hex') AS hash
FROM ops.append_access(
    %(actor)s, %(role)s, %(organizer_id)s, %(action)s, %(job_id)s, %(dataset)s, %(filters)s,
    %(clear_columns)s, %(reason)s, %(row_count)s
)
