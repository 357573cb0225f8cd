-- Organizers signed up before their first event was made.
SELECT organizer_id,
       CASE WHEN u('organizer odd', organizer_id) < 0.03 THEN '=Events & "Sons", ' || organizer_id
            ELSE pick(['Savanna', 'Rift Valley', 'Nyali', 'Kilimanjaro', 'Baobab', 'Jacaranda', 'Equator', 'Swahili', 'Pwani',
                       'Kĩrĩnyaga', 'Mto', 'Señorita', 'Über', 'Nile', 'Ubuntu', 'Zanzibar'], u('organizer word', organizer_id))
                 || ' ' || pick(['Live', 'Events', 'Promotions', 'Arena', 'Collective', 'Nights', 'Arts Trust', 'Sports', 'Talks'],
                                u('organizer trade', organizer_id))
                 || ' ' || organizer_id END AS name,
       any_value(country) AS country,
       least(min(created_at), getvariable('until')) - hours(24 * (30 + 700 * u('organizer age', organizer_id))) AS created_at,
       least(min(created_at), getvariable('until')) - hours(24 * (10 * u('organizer edited', organizer_id) + 1)) AS updated_at
FROM event
GROUP BY organizer_id
ORDER BY organizer_id
