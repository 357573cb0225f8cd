"""The commands of the read API: ``api`` and ``token``.

Belongs here: starting its processes, and minting development tokens. Does not belong here: what it
answers (``api``).
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from typing import Annotated

import typer

from pipelines.console import fail, load_settings

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
