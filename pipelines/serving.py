"""The commands of the read API: ``api`` and ``token``.

Belongs here: starting its processes, and minting development tokens. Does not belong here: what it
answers (``api``).
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from typing import Annotated

import psycopg
import typer
from psycopg.conninfo import conninfo_to_dict

from pipelines.console import fail, load_settings
from pipelines.settings import Settings

GRACE_SECONDS = 20
_KEEP_ALIVE_SECONDS = 65  # longer than the load balancers in front of it, which close first


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.command("api")(serve)
    app.command("token")(token)


def serve(
    host: Annotated[str | None, typer.Option(help="Address (BOXOFFICE_API_HOST).")] = None,
    port: Annotated[int | None, typer.Option(help="Port (BOXOFFICE_API_PORT).")] = None,
) -> None:
    """Serve the read API until it is told to stop; requests under way are finished."""
    import uvicorn

    from api.app import build_services
    from api.tokens import ConfigurationError

    settings = load_settings()
    try:
        build_services(settings)  # what is wrong is said once, not by every worker
    except (ConfigurationError, ValueError) as error:
        raise fail(error) from None
    if (warning := crowded(settings)) is not None:
        typer.secho(warning, err=True, fg=typer.colors.YELLOW)
    with contextlib.ExitStack() as stack:
        if settings.api_workers > 1:
            # Where the workers put their metrics, so that any of them can show those of all.
            folder = tempfile.TemporaryDirectory(prefix="boxoffice-api-")
            os.environ["PROMETHEUS_MULTIPROC_DIR"] = stack.enter_context(folder)
        uvicorn.run(
            "api.app:from_environment",
            factory=True,
            host=host or settings.api_host,
            port=port or settings.api_port,
            workers=settings.api_workers,
            lifespan="on",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            ws="none",
            timeout_keep_alive=_KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=GRACE_SECONDS,
        )


def crowded(settings: Settings) -> str | None:
    """What to say if not every worker can hold a session of ad-hoc SQL at the same time.

    Each holds at least one while it runs a statement. A database that is away is not asked again.
    """
    if settings.warehouse_adhoc_url is None or settings.warehouse_reader_url is None:
        return None
    from api.statements import statement

    role = conninfo_to_dict(settings.warehouse_adhoc_url.get_secret_value()).get("user")
    url = settings.warehouse_reader_url.get_secret_value()
    try:
        with psycopg.connect(url, connect_timeout=2) as connection:
            row = connection.execute(statement("role_connection_limit"), {"role": role}).fetchone()
    except psycopg.OperationalError:
        return "Postgres does not answer yet: how many sessions ad-hoc SQL has was not checked."
    limit = -1 if row is None else int(row[0])
    if limit < 0 or settings.api_workers <= limit:
        return None
    return (
        f"BOXOFFICE_API_WORKERS is {settings.api_workers}, and role {role} may hold {limit} "
        "connections: when more of them are asked for ad-hoc SQL at the same time, some answer "
        "503. Raise the role's CONNECTION LIMIT (local/sql/adhoc_role.sql), or start fewer."
    )


def token(
    role: Annotated[str, typer.Option(help="organizer, admin, super_admin or viewer.")],
    account: Annotated[str, typer.Option(help="Account it stands for, for example a@b.")],
    organizer: Annotated[
        int | None, typer.Option(help="Organizer whose numbers are seen; an organizer needs it.")
    ] = None,
    hours: Annotated[float, typer.Option(help="How long it is valid, 24 at most.")] = 1,
) -> None:
    """Print a development token for the read API; production mode makes none."""
    from api.principal import Principal
    from api.tokens import ConfigurationError, mint
    from exports.masking import Role

    settings = load_settings()
    try:
        if role not in list(Role):
            raise ValueError(f"--role is one of {', '.join(Role)}")
        principal = Principal(account, Role(role), organizer)
        typer.echo(mint(settings, principal, round(hours * 3600)))
    except (ConfigurationError, ValueError) as error:
        raise fail(error) from None
