"""A client of a running Dagster webserver's GraphQL API.

Belongs here: sending a request and turning every way it can fail into an error that says what to
do. Does not belong here: what is asked (``pipelines.backfill``).
"""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

_TIMEOUT_SECONDS = 60.0


class WebserverError(RuntimeError):
    """The webserver does not answer, or refuses the request; the message says what to do."""


@dataclass(frozen=True)
class Webserver:
    """Dagster's webserver.

    Attributes:
        url: where its UI is, for example ``http://127.0.0.1:3000``.
    """

    url: str

    def __post_init__(self) -> None:
        """Refuse anything but an http address."""
        if urlsplit(self.url).scheme not in {"http", "https"} or not urlsplit(self.url).hostname:
            raise WebserverError(
                f"BOXOFFICE_DAGSTER_WEBSERVER_URL is {self.url!r}; write it as http://host:port"
            )

    def page(self, path: str) -> str:
        """Address of a page of the UI."""
        return f"{self.url.rstrip('/')}/{path}"

    def graphql(self, document: str, **variables: object) -> dict[str, Any]:
        """Run a query or mutation and return its data.

        Raises:
            WebserverError: It is not reachable, or answers with errors.
        """
        request = urllib.request.Request(  # noqa: S310 - the scheme is checked above
            self.page("graphql"),
            data=json.dumps({"query": document, "variables": variables}).encode(),
            headers={"Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS) as response:  # noqa: S310
                body = response.read()
        except urllib.error.HTTPError as error:
            body = error.read()
            if not body.lstrip().startswith(b"{"):  # GraphQL errors come as 400 with a JSON body
                raise WebserverError(
                    f"{self.url} answered {error.code} {error.reason}; is it Dagster's webserver?"
                ) from None
        except (urllib.error.URLError, ConnectionError, TimeoutError) as error:
            reason = getattr(error, "reason", error)
            raise WebserverError(
                f"no Dagster webserver answers at {self.url} ({reason}). Start it with `make up`, "
                "or set BOXOFFICE_DAGSTER_WEBSERVER_URL to the address of a running one"
            ) from None
        try:
            answer = json.loads(body)
        except json.JSONDecodeError:
            raise WebserverError(f"{self.url} did not answer in JSON; is it Dagster's?") from None
        if answer.get("errors"):
            messages = "; ".join(str(error.get("message")) for error in answer["errors"])
            raise WebserverError(f"Dagster refused the request: {messages}")
        data: dict[str, Any] = answer["data"]
        return data

    def expect(self, success: str, document: str, **variables: object) -> dict[str, Any]:
        """Run a document with one field and return that field's result.

        Args:
            success: the result's type when all went well.

        Raises:
            WebserverError: The result is of another type, with its message.
        """
        (result,) = self.graphql(document, **variables).values()
        found: dict[str, Any] = result
        if found["__typename"] != success:
            raise WebserverError(
                f"Dagster answered {found['__typename']}: {found.get('message', 'no reason given')}"
            )
        return found
