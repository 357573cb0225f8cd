"""Applications the bench of the read API serves: Box Office, and two that only say hello.

Belongs here: what a worker process imports. Does not belong here: starting it (``bench.api``).
"""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any

from fastapi import FastAPI, Query
from pydantic import Field
from starlette.types import Receive, Scope, Send

from api.answers import Answer, flat, meta, series
from api.app import ROUTERS, create_app
from api.calls import Calls, Parameters, Read
from api.periods import Periods, read_covered, read_series
from api.policy import Access
from api.written import by_currency, lines_by_currency, table, write
from metrics.datasets import DAILY_METRICS
from pipelines.settings import get_settings

WATERFALL = (
    *("orders", "paid_orders", "tickets_sold", "face_value", "discounts", "ticket_revenue"),
    *("buyer_fees", "tax", "gross_revenue", "sale_reversals", "net_sales", "payments", "refunds"),
    *("chargebacks", "net_collected", "platform_fees", "processing_fees", "organizer_net"),
)
"""What `/admin/analytics/revenue` shows."""
router = Calls("/bench", "Bench")


class RevenueQuery(Parameters):
    """Whose revenue, over which days."""

    organizer: int
    from_: date = Field(alias="from")
    to: date


@router.answer("/summed", access=Access.ADMIN_ANALYTICS, reads=(DAILY_METRICS.name,), shows=Any)
async def summed(read: Read, query: Annotated[RevenueQuery, Query()]) -> Answer:
    """An organizer's revenue by day, from sums that are kept."""
    periods = Periods("daily", query.from_, query.to)
    asked = by_currency(periods, WATERFALL, {"organizer_id": query.organizer})
    rows, coverage = await read_covered(
        read, asked, periods, DAILY_METRICS.name, organizer_id=query.organizer, only=True
    )
    lines = lines_by_currency(rows)
    found = write(coverage, WATERFALL, lines, quotients=("aov",))
    described = meta(read, coverage=coverage, currencies=[line.currency for line in lines])
    return Answer(found, described, table=lambda: table(found))


@router.answer("/grouped", access=Access.ADMIN_ANALYTICS, reads=(DAILY_METRICS.name,), shows=Any)
async def grouped(read: Read, query: Annotated[RevenueQuery, Query()]) -> Answer:
    """The same, added up from events' days."""
    periods = Periods("daily", query.from_, query.to)
    rows, coverage = await read_series(
        read,
        "metrics_by_period",
        periods,
        blocks={"metrics": WATERFALL, "filters": ("organizer_id",)},
        parameters={"organizer_id": query.organizer},
        only=True,
    )
    found = series(coverage, rows, WATERFALL)
    described = meta(read, coverage=coverage, currencies={one["currency"] for one in found})
    return Answer(found, described, table=lambda: flat(found))


def box_office() -> FastAPI:
    """The product with two endpoints more."""
    return create_app(get_settings(), (*ROUTERS, router))


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
