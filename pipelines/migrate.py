"""Migration of everything Box Office owns: the warehouse's tables, and the lake's.

Belongs here: the order of migrations. Does not belong here: the migrations (``warehouse.migrate``,
``resources.lake``).
"""

from __future__ import annotations

from assets.statements import MOVEMENTS, movements_view
from pipelines.definitions import build_lake
from pipelines.settings import Settings
from warehouse.migrate import upgrade


def migrate(settings: Settings) -> None:
    """Bring the warehouse and the lake to this code's version; safe to repeat."""
    upgrade(settings.warehouse_owner_url.get_secret_value())
    build_lake(settings).create_tables({MOVEMENTS: movements_view()})
