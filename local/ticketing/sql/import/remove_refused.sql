DELETE FROM {staged} AS staged USING import_refused AS refused
WHERE refused.file = {file} AND refused.line = staged.line
