-- Whose rows row-level security lets through, for this transaction only; and the present state of
-- every finished table in its snapshot.
SELECT set_config('boxoffice.organizer_id', %(organizer_id)s, true),
       set_config('boxoffice.requester', %(requester)s, true),
       (SELECT jsonb_object_agg(dataset, version) FROM ops.dataset_versions) AS versions
