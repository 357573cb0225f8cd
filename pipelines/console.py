"""What all commands share: how an error is shown, and the settings or what is wrong with them.

Belongs here: nothing else. Does not belong here: commands (``pipelines.cli``,
``pipelines.inspection``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from pipelines.settings import Settings


def fail(message: object) -> typer.Exit:
    """Print what is wrong on standard error; raise what this returns."""
    typer.secho(f"Error: {message}", err=True, fg=typer.colors.RED)
    return typer.Exit(1)


def load_settings() -> Settings:
    """The settings, or an error that names every variable that is missing or wrong."""
    from pydantic import ValidationError

    from pipelines.settings import get_settings

    try:
        return get_settings()
    except ValidationError as error:
        wrong = "; ".join(
            f"BOXOFFICE_{'_'.join(map(str, problem['loc'])).upper()}: {problem['msg']}"
            for problem in error.errors(include_input=False)
        )
        raise fail(f"{wrong}. `boxoffice up` sets what is embedded.") from None
