-- An event, if the caller sees it, and how many tickets it has issued so far.
SELECT event_id, tickets_sold FROM reporting.event_summary WHERE event_id = %(event_id)s
