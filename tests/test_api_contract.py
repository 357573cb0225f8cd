"""The API keeps its OpenAPI: nothing undocumented is answered, and the examples are real."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import timedelta
from typing import Any

import httpx
import hypothesis
import psycopg
import pytest
import requests
import schemathesis
from psycopg import sql
from pydantic import SecretStr
from schemathesis.checks import (
    content_type_conformance,
    not_a_server_error,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from schemathesis.core.failures import FailureGroup
from schemathesis.core.result import Ok
from schemathesis.generation import GenerationMode

from api.answers import MEDIA_TYPES
from api.front import MAX_BODY_BYTES
from api.response_headers import HEADERS
from api.routes import export_schedules, exports
from exports.masking import Role
from tests.api_platform import FIRST, LAST, Platform, published_platform
from tests.api_shapes import Api, differences, serving
from tests.deployment import Deployment

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
EXAMPLES = 3
"""Generated requests of an operation, as its OpenAPI allows and as it forbids."""
MONTHLY = {"kind": "cron", "expression": "0 8 1 * *"}
FREE = (
    "by_status",
    "currencies",
    "ratios",
    "filters",
    "columns",
    "counts",
    "scope",
    "period_states",
    "within",
)
"""Members whose own members depend on what was asked for, or on what happened before."""


@pytest.fixture(scope="module")
def platform(
    make_deployment: Callable[..., Deployment], role_url: Callable[[str, str], str]
) -> Platform:
    return published_platform(make_deployment, role_url)


@pytest.fixture(scope="module")
def api(platform: Platform, role_url: Callable[[str, str], str]) -> Iterator[Api]:
    owner = platform.settings.warehouse_owner_url.get_secret_value()
    with psycopg.connect(owner, autocommit=True) as connection:
        name = sql.Identifier(connection.info.dbname)
        connection.execute(sql.SQL("GRANT CONNECT ON DATABASE {} TO boxoffice_adhoc").format(name))
    url = SecretStr(role_url(owner, "boxoffice_adhoc"))
    settings = platform.settings.model_copy(update={"warehouse_adhoc_url": url})
    with pytest.MonkeyPatch.context() as patch, serving(settings) as found:
        patch.setattr(exports, "WAIT_SECONDS", 0.05)  # nobody makes files here
        deadline = time.monotonic() + 20
        while found.call("GET", "/readyz", headers={}).status_code != 200:
            assert time.monotonic() < deadline
        yield found


@pytest.fixture(scope="module")
def document(api: Api) -> dict[str, Any]:
    return json.loads(json.dumps(api.client.app.openapi()))  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def known(platform: Platform) -> dict[str, Any]:
    """Values of parameters for which there is something to answer."""
    return {
        "event": platform.event,
        "events": f"{platform.events[0]},{platform.events[1]}",
        "organizer": platform.organizer,
        "dataset": "daily_metrics",
        "metric": "refunds",
        "day": str(LAST - timedelta(days=3)),
        "from": str(FIRST),
        "to": str(LAST),
        "change": "pause",
    }


BODIES: dict[str, dict[str, Any]] = {
    "/api/v1/admin/sql": {"sql": "SELECT currency FROM reporting.daily_metrics LIMIT 2"},
    exports.ADMIN: {"type": "attendees"},
    f"{exports.ORGANIZER}/attendees/{{event}}": {},
    export_schedules.ADMIN: {"type": "revenue", "recurrence": MONTHLY},
    export_schedules.ORGANIZER: {"type": "revenue", "recurrence": MONTHLY},
}
"""A body for each operation that has one."""


@pytest.fixture(scope="module")
def callers(api: Api, platform: Platform) -> dict[str, dict[str, str]]:
    """Headers of every role, and of nobody."""
    as_ = api.client.as_
    return {
        "organizer": as_(Role.ORGANIZER, platform.organizer),
        "admin": as_(Role.ADMIN),
        "super_admin": as_(Role.SUPER_ADMIN),
        "viewer": as_(Role.VIEWER),
        "nobody": {},
    }


def test_no_role_gets_an_undocumented_answer_whatever_it_sends(
    api: Api,
    document: dict[str, Any],
    known: dict[str, Any],
    callers: dict[str, dict[str, str]],
) -> None:
    problems: dict[str, str] = {}
    answered: dict[str, set[int]] = {}

    for found in schemathesis.openapi.from_dict(document).get_all_operations():
        assert isinstance(found, Ok), found
        operation = found.ok()

        def send(case: Any) -> None:
            for role, headers in callers.items():
                response = sent(api, case, headers)
                statuses = answered.setdefault(case.operation.label, set())
                statuses.add(response.status_code)
                try:
                    case.validate_response(response, checks=CHECKS)
                except FailureGroup as failures:
                    for failure in failures.exceptions:
                        said = f"{role}: {failure}: {failure.message}"
                        what = f"{case.operation.label} {response.status_code} {failure.title}"
                        problems.setdefault(what, f"{said}\n{case.as_curl_command()}")

        described = document["paths"][operation.path][operation.method]
        path, query = parameters(described, known)
        answerable: dict[str, Any] = {"path_parameters": path, "query": query}
        if operation.path in BODIES:
            answerable["body"] = BODIES[operation.path]
            answerable["media_type"] = "application/json"
        ways: list[tuple[GenerationMode, dict[str, Any]]] = [
            (GenerationMode.POSITIVE, {}),
            (GenerationMode.POSITIVE, answerable),
        ]
        if "parameters" in described or "requestBody" in described:  # else nothing can be wrong
            ways.append((GenerationMode.NEGATIVE, {}))
        for mode, given in ways:
            run = hypothesis.settings(
                max_examples=EXAMPLES,
                derandomize=True,
                database=None,
                deadline=None,
                phases=[hypothesis.Phase.generate],
                suppress_health_check=list(hypothesis.HealthCheck),
            )
            run(hypothesis.given(operation.as_strategy(generation_mode=mode, **given))(send))()

    assert not problems, "\n\n".join(f"{what}\n{said}" for what, said in problems.items())
    calls = {label: statuses for label, statuses in answered.items() if " /api/" in label}
    assert len(calls) > 25
    assert all(401 in statuses for statuses in calls.values())
    assert all(statuses - {401, 403, 422} for statuses in calls.values()), calls


def parameters(
    operation: dict[str, Any], known: dict[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Known values of an operation's parameters, in its path and in its query."""
    names = [(each["in"], each["name"]) for each in operation.get("parameters", ())]
    given: dict[str, dict[str, Any]] = {"path": {}, "query": {}, "header": {}}
    for place, name in names:
        if name in known:
            given[place][name] = known[name]
    return given["path"], given["query"]


def sent(api: Api, case: Any, headers: dict[str, str]) -> httpx.Response:
    """The answer to a generated request."""
    arguments = case.as_transport_kwargs(base_url="http://api", headers=headers)
    kept = {"method", "url", "params", "data", "json", "headers", "cookies", "files"}
    request = requests.Request(**{k: v for k, v in arguments.items() if k in kept}).prepare()
    return api.run(
        lambda client: client.request(
            request.method or "GET",
            request.url or "",
            headers=list(request.headers.items()),
            content=request.body or b"",
        )
    )


def test_every_example_has_the_members_of_a_real_answer(
    api: Api, document: dict[str, Any], known: dict[str, Any], platform: Platform
) -> None:
    operations = [
        (method, path, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
        if path.startswith("/api/")
    ]
    order = ("post", "get", "delete")  # what is made is looked at, then taken away
    operations.sort(key=lambda each: 1.5 if "{change}" in each[1] else order.index(each[0]))
    compared = 0
    ids: dict[str, dict[str, str]] = {}
    found: list[str] = []
    for method, path, operation in operations:
        side = "organizer" if path.startswith("/api/organizer") else "admin"
        whose = (Role.ORGANIZER, platform.organizer) if side == "organizer" else (Role.ADMIN, None)
        values = known | ids.setdefault(side, {})
        if side == "organizer":
            values = {name: value for name, value in values.items() if name != "organizer"}
        in_path, query = parameters(operation, values)
        response = api.call(
            method.upper(),
            path.format(**in_path),
            params=query,
            json=BODIES.get(path),
            headers=api.client.as_(*whose),
        )
        called = f"{method.upper()} {path}"
        status = str(response.status_code)
        assert response.status_code < 400, f"{called} {response.request.url}: {response.text}"
        if response.headers.get("content-type") != "application/json" or status == "303":
            continue
        example = operation["responses"][status]["content"]["application/json"].get("example")
        if example is None:
            found.append(f"{called} has no example")
            continue
        answer = response.json()
        compared += 1
        apart = differences(example, answer, free=FREE)
        # Null in the example of schedules, which FastAPI leaves out.
        apart = [each for each in apart if not ("schedules" in path and ".organizer_id is" in each)]
        found += [f"{called} {each}" for each in apart]
        made = answer["data"]
        if method == "post" and "job_id" in made:
            ids[side]["job"] = made["job_id"]
        elif method == "post" and "schedule_id" in made:
            ids[side]["schedule"] = made["schedule_id"]
    assert not found, "\n".join(found)
    assert compared > 25


def test_tables_are_documented_where_they_are_answered(
    api: Api, document: dict[str, Any], known: dict[str, Any]
) -> None:
    checked = 0
    recurring = api.call("POST", export_schedules.ADMIN, json=BODIES[export_schedules.ADMIN])
    schedule = recurring.json()["data"]["schedule_id"]
    for path, methods in document["paths"].items():
        if "get" not in methods or not path.startswith("/api/") or "export" in path:
            continue
        described = methods["get"]["responses"]
        in_path, query = parameters(methods["get"], known | {"schedule": schedule})
        for media_type in MEDIA_TYPES.values():
            headers = api.client.as_() | {"Accept": media_type}
            response = api.call("GET", path.format(**in_path), params=query, headers=headers)
            is_documented = media_type.partition(";")[0] in described["200"]["content"]
            assert (response.status_code == 200) == is_documented, f"{path}: {response.text}"
            assert not is_documented or response.headers["content-type"] == media_type
        if etag := response.headers.get("etag"):
            unchanged = {"If-None-Match": etag} | headers
            again = api.call("GET", path.format(**in_path), params=query, headers=unchanged)
            assert again.status_code == 304
            assert "304" in described
            checked += 1
    assert checked > 5


def test_what_is_too_large_is_a_problem_like_any_other(
    api: Api, document: dict[str, Any], callers: dict[str, dict[str, str]]
) -> None:
    url, headers = "/api/v1/admin/sql", {"Content-Type": "application/json"}
    content = b'{"sql": "' + b"x" * MAX_BODY_BYTES + b'"}'

    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(content), 65_536):
            yield content[start : start + 65_536]

    for body in (content, pieces()):  # with its length, and without
        given = headers | callers["admin"]
        response = api.run(lambda client, b=body, h=given: client.post(url, content=b, headers=h))
        assert response.status_code == 413
        assert response.headers["content-type"] == "application/problem+json"
        problem = response.json()
        assert problem["type"] == "urn:boxoffice:problem:too-large"
        assert "256 KiB" in problem["detail"]
        assert problem["request_id"] == response.headers["x-request-id"]
        assert response.headers["ratelimit-limit"]
    nobody = api.run(lambda client: client.post(url, content=content, headers=headers))
    assert nobody.status_code == 401
    for path, methods in document["paths"].items():
        for method in methods.keys() & {"post", "delete"}:
            assert "413" in methods[method]["responses"], path


def test_the_headers_of_answers_are_documented(
    api: Api, document: dict[str, Any], callers: dict[str, dict[str, str]]
) -> None:
    limits = {"RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset"}
    for url in ("/healthz", "/api/v1/definitions", "/api/v1/admin/cache/stats"):
        for caller in ("admin", "nobody"):
            response = api.call("GET", url, headers=callers[caller])
            described = document["paths"][url]["get"]["responses"][str(response.status_code)]
            sent = {name for name in HEADERS if name in response.headers}
            assert sent <= described["headers"].keys(), (url, caller)
            assert "X-Request-ID" in sent
            assert (limits <= sent) == (limits <= described["headers"].keys())
    operation = document["paths"]["/api/v1/definitions"]["get"]["responses"]
    assert "ETag" in operation["200"]["headers"]
    assert operation["429"]["headers"].keys() >= {"Retry-After", *limits}
    for name, header in document["components"]["headers"].items():
        assert header["description"], name
