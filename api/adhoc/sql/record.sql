INSERT INTO ops.adhoc_queries (
    ends, account, role, statement, characters, outcome, reason, row_count, truncated, milliseconds
)
VALUES (
    %(ends)s, %(account)s, %(role)s, %(statement)s, %(characters)s, %(outcome)s, %(reason)s,
    %(row_count)s, %(truncated)s, %(milliseconds)s
)
RETURNING entry
