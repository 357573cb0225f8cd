"""Applications the bench of the read API serves: Box Office, and two that only say hello.

Belongs here: what a worker process imports. Does not belong here: starting it (``bench.api``).
"""

from __future__ import annotations

from fastapi import FastAPI
from starlette.types import Receive, Scope, Send

from api.app import create_app
from pipelines.settings import get_settings


def box_office() -> FastAPI:
    """The product as it is."""
    return create_app(get_settings())


async def hello(scope: Scope, receive: Receive, send: Send) -> None:
    """Bare ASGI."""
    if scope["type"] == "lifespan":
        for stage in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{stage}.complete"})
        return
    headers = [(b"content-type", b"application/json"), (b"content-length", b"17")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b'{"hello":"world"}'})


def fastapi_hello() -> FastAPI:
    """FastAPI, with nothing of the product."""
    app = FastAPI(openapi_url=None)

    @app.get("/")
    async def say() -> dict[str, str]:
        return {"hello": "world"}

    return app
