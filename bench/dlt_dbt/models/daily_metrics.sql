-- Every metric per day and event; events on sale have a row of zeros.
with summed as (
    select business_date, organizer_id, event_id, currency, {{ summed() }}
           count(distinct buyer) as buyers
    from (
        from {{ ref('facts') }}
        union all by name
        select cast(d.day as date) as business_date, e.organizer_id, e.event_id, e.currency
        from (
            select unnest(generate_series(date '{{ env_var("BENCH_FIRST") }}',
                                          date '{{ env_var("BENCH_LAST") }}', interval 1 day)) as day
        ) as d
        join raw.events as e
            on coalesce(e.on_sale_at
                        < timezone('{{ env_var("BENCH_TIME_ZONE") }}', d.day + interval 1 day), true)
            and coalesce(coalesce(e.ends_at, e.starts_at)
                         >= timezone('{{ env_var("BENCH_TIME_ZONE") }}', d.day), true)
            and coalesce(e.cancelled_at
                         >= timezone('{{ env_var("BENCH_TIME_ZONE") }}', d.day), true)
        where e.status <> 'draft'
    )
    group by all
)
select *, {{ derived() }}
from summed
