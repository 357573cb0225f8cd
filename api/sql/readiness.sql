-- The revision the warehouse was migrated to.
SELECT version_num FROM ops.alembic_version
