"""Headers of answers, as OpenAPI describes them.

Belongs here: which answers have which headers. Does not belong here: setting them (``api.front``,
``api.observability``, ``api.problems``).
"""

from __future__ import annotations

from typing import Any

_INTEGER = {"type": "integer", "minimum": 0}
HEADERS: dict[str, dict[str, Any]] = {
    "X-Request-ID": {
        "description": "Names the request in the log: the one that was sent, or a new one.",
        "schema": {"type": "string", "pattern": "^[A-Za-z0-9._-]{1,64}$"},
        "required": True,
    },
    "RateLimit-Limit": {
        "description": "Requests of this class that the account may make in any minute.",
        "schema": _INTEGER,
    },
    "RateLimit-Remaining": {
        "description": "Further requests that may follow at once.",
        "schema": _INTEGER,
    },
    "RateLimit-Reset": {
        "description": "Seconds after which a request is certainly admitted again.",
        "schema": _INTEGER,
    },
    "Retry-After": {
        "description": "Seconds after which to go on.",
        "schema": _INTEGER,
    },
    "ETag": {
        "description": "For `If-None-Match`.",
        "schema": {"type": "string"},
    },
}
_LIMITS = ("RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset")
_BEFORE_LIMITS = ("401", "403")
_RETRIED = ("429", "503")


def describe(document: dict[str, Any]) -> None:
    """Add to every answer of an OpenAPI document the headers that it has."""
    document.setdefault("components", {})["headers"] = HEADERS
    for methods in document["paths"].values():
        for operation in methods.values():
            responses = operation["responses"]
            for status, response in responses.items():
                names = ["X-Request-ID"]
                if "security" in operation and status not in _BEFORE_LIMITS:
                    names += _LIMITS
                    if status in _RETRIED:
                        names.append("Retry-After")
                    if status == "304" or (status == "200" and "304" in responses):
                        names.append("ETag")
                own = {name: {"$ref": f"#/components/headers/{name}"} for name in names}
                response["headers"] = own | response.get("headers", {})
