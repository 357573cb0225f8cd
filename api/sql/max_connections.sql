-- Connections the server allows, all clients together.
SELECT current_setting('max_connections')::int AS max_connections
