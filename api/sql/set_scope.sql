-- Whose rows row-level security lets through, for this transaction only.
SELECT set_config('boxoffice.organizer_id', %(organizer_id)s, true),
       set_config('boxoffice.requester', %(requester)s, true)
