SELECT min({{ key }}), max({{ key }})
FROM {{ "chosen" if scoped else "lake.raw_" ~ fact }}
