"""Ad-hoc SQL through the API: who may ask, what comes back, how refusals and ends are told."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest
from psycopg import sql
from pydantic import SecretStr

from api.routes import adhoc
from exports.masking import Role
from local import ports
from pipelines.serving import crowded
from pipelines.settings import Settings
from tests.api_client import MINE, Client, api_settings, fill, until
from tests.api_shapes import Api, differences, example_of, serving

URL = "/api/v1/admin/sql"
REVENUE = "SELECT currency, sum(gross_revenue) AS gross FROM reporting.daily_metrics GROUP BY 1"
HEAVY = """WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n FROM r) SELECT count(*) FROM r"""


@pytest.fixture(scope="module")
def settings(
    make_settings: Callable[..., Settings],
    fresh_database: Callable[..., str],
    role_url: Callable[[str, str], str],
) -> Settings:
    made = api_settings(make_settings, fresh_database, role_url, warehouse_adhoc_url=None)
    owner = made.warehouse_owner_url.get_secret_value()
    with psycopg.connect(owner, autocommit=True) as connection:
        name = sql.Identifier(connection.info.dbname)
        connection.execute(sql.SQL("GRANT CONNECT ON DATABASE {} TO boxoffice_adhoc").format(name))
    fill(made)
    url = SecretStr(role_url(owner, "boxoffice_adhoc"))
    return made.model_copy(
        update={"warehouse_adhoc_url": url, "api_statement_timeout_seconds": 1.0}
    )


@pytest.fixture(scope="module")
def api(settings: Settings) -> Iterator[Api]:
    with serving(settings, adhoc.router) as found:
        yield found


def ask(api: Api, statement: str, role: Role = Role.ADMIN, **body: Any) -> Any:
    headers = api.client.as_(role, account=f"{role}@example.org")
    return api.call("POST", URL, json={"sql": statement, **body}, headers=headers)


def records(settings: Settings) -> list[dict[str, Any]]:
    with psycopg.connect(
        settings.warehouse_url.get_secret_value(), row_factory=psycopg.rows.dict_row
    ) as connection:
        return connection.execute(
            "SELECT account, role, outcome, statement, reason, row_count, ends"
            " FROM ops.adhoc_queries ORDER BY entry"
        ).fetchall()


@pytest.mark.parametrize("role", [Role.ADMIN, Role.SUPER_ADMIN])
def test_a_statement_is_answered_and_recorded(api: Api, settings: Settings, role: Role) -> None:
    response = ask(api, REVENUE, role)
    assert response.status_code == 200, response.text
    data, meta = response.json()["data"], response.json()["meta"]
    # 100, 300 and 500 of mine and 7,700 on each of four days
    assert data["rows"] == [["KES", str(100 + 300 + 500 + 4 * 7_700)]]
    assert (data["row_count"], data["truncated"]) == (1, None)
    assert meta["relations"] == ["reporting.daily_metrics"]
    assert response.headers["cache-control"] == "private, no-store"
    asked, ended = records(settings)[-2:]
    assert (asked["account"], asked["role"]) == (f"{role}@example.org", role)
    assert (asked["outcome"], asked["statement"]) == ("allowed", REVENUE)
    assert (ended["outcome"], ended["row_count"]) == ("succeeded", 1)


def test_the_example_has_the_members_of_a_real_answer(api: Api) -> None:
    example = example_of(api.client.app.openapi(), "post", URL)
    assert differences(example, ask(api, REVENUE).json()) == []


@pytest.mark.parametrize(
    ("role", "organizer", "status"),
    [
        (Role.ORGANIZER, MINE, 403),
        (Role.VIEWER, None, 403),
        (Role.VIEWER, MINE, 403),
        (None, 0, 401),
    ],
)
def test_nobody_else_may_ask(
    api: Api, settings: Settings, role: Role | None, organizer: int | None, status: int
) -> None:
    before = len(records(settings))
    headers = {} if role is None else api.client.as_(role, organizer)
    assert api.call("POST", URL, json={"sql": REVENUE}, headers=headers).status_code == status
    assert len(records(settings)) == before


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        ("DELETE FROM reporting.daily_metrics", "SELECT"),
        ("SELECT 1; SELECT 2", "write one"),
        ("SELECT * FROM ops.export_jobs", "schema ops"),
        ("SELECT pg_sleep(1)", "pg_sleep"),
        ("SELECT '\0'", "NUL"),
        ("SELECT FROM WHERE", "syntax"),
    ],
)
def test_what_is_refused_says_why_and_is_recorded(
    api: Api, settings: Settings, statement: str, reason: str
) -> None:
    response = ask(api, statement)
    problem = response.json()
    assert (response.status_code, problem["errors"][0]["code"]) == (422, "refused")
    assert reason.lower() in problem["reason"].lower()
    assert "position" in problem
    assert records(settings)[-1]["outcome"] == "refused"


def test_what_fails_says_where(api: Api, settings: Settings) -> None:
    response = ask(api, "SELECT 1 / (count(*) - count(*)), nothing FROM reporting.daily_metrics")
    problem = response.json()
    assert response.status_code == 422
    assert "nothing" in problem["reason"] or "nothing" in problem["detail"]
    assert problem["position"] == 35
    failed = ask(api, "SELECT 1 / (count(*) - count(*)) FROM reporting.daily_metrics")
    assert (failed.status_code, failed.json()["sqlstate"]) == (422, "22012")
    assert failed.json()["errors"][0]["code"] == "failed"
    assert records(settings)[-1]["outcome"] == "failed"


def test_an_answer_that_was_cut_says_so_in_every_format(api: Api) -> None:
    statement = "SELECT n, n AS n FROM generate_series(1, 5) AS g(n)"
    cut = ask(api, statement, max_rows=3)
    assert (cut.json()["data"]["truncated"], cut.json()["data"]["row_count"]) == ("rows", 3)
    headers = api.client.as_() | {"Accept": "text/csv"}
    body = {"sql": statement, "max_rows": 3}
    response = api.call("POST", URL, json=body, headers=headers)
    assert response.headers["x-truncated"] == "rows"
    assert response.text.split() == ["n,n_2", "1,1", "2,2", "3,3"]


def test_what_takes_too_long_is_stopped(api: Api, settings: Settings) -> None:
    response = ask(api, HEAVY)
    assert (response.status_code, response.json()["type"].rsplit(":")[-1]) == (504, "too-slow")
    assert records(settings)[-1]["outcome"] == "failed"


def test_more_at_once_than_there_are_sessions_are_told_to_come_back(api: Api) -> None:
    with ThreadPoolExecutor(6) as threads:
        statuses = sorted(
            response.status_code for response in threads.map(lambda _: ask(api, HEAVY), range(6))
        )
    # Three run until they are stopped; of those that wait some get a session, none a 500.
    assert set(statuses) <= {503, 504}
    assert statuses.count(504) >= 3
    assert ask(api, REVENUE).status_code == 200


@pytest.mark.parametrize("body", [{}, {"sql": "SELECT 1", "role": "x"}, {"sql": 1}, []])
def test_a_body_that_is_not_a_statement_is_refused(api: Api, body: object) -> None:
    response = api.call("POST", URL, json=body)
    assert response.status_code == 422
    assert response.json()["errors"]


def test_a_role_that_may_do_more_runs_nothing_and_tells_callers_nothing(
    settings: Settings,
) -> None:
    powerful = settings.model_copy(update={"warehouse_adhoc_url": settings.warehouse_owner_url})
    with serving(powerful, adhoc.router) as api:
        response = ask(api, REVENUE)
    assert (response.status_code, response.headers["retry-after"]) == (503, "300")
    assert response.json()["type"] == "urn:boxoffice:problem:unavailable"
    for internal in ("role", "boxoffice_owner", "schema"):
        assert internal not in response.text
    assert records(settings)[-1]["outcome"] == "failed"


def test_without_a_role_it_says_what_is_missing(settings: Settings) -> None:
    without = settings.model_copy(update={"warehouse_adhoc_url": None})
    with serving(without, adhoc.router) as api:
        response = ask(api, REVENUE)
    assert response.status_code == 503
    assert "BOXOFFICE_WAREHOUSE_ADHOC_URL" in response.json()["detail"]


def test_a_start_with_more_workers_than_sessions_says_so(settings: Settings) -> None:
    assert settings.warehouse_adhoc_url is not None
    assert crowded(settings) is None
    said = crowded(settings.model_copy(update={"api_workers": 5})) or ""
    for part in ("BOXOFFICE_API_WORKERS is 5", "boxoffice_adhoc may hold 4", "adhoc_role.sql"):
        assert part in said
    without = {"api_workers": 5, "warehouse_adhoc_url": None}
    assert crowded(settings.model_copy(update=without)) is None
    # A role without a limit is another's mistake, which refuses to run statements.
    unlimited = {"api_workers": 5, "warehouse_adhoc_url": settings.warehouse_owner_url}
    assert crowded(settings.model_copy(update=unlimited)) is None
    away = SecretStr(f"postgresql://a:b@127.0.0.1:{ports.choose(29980)}/c")
    assert "was not checked" in (
        crowded(settings.model_copy(update={"warehouse_reader_url": away})) or ""
    )


def test_when_other_workers_hold_all_sessions_one_is_told_to_come_back(
    api: Api, settings: Settings
) -> None:
    assert settings.warehouse_adhoc_url is not None
    url = settings.warehouse_adhoc_url.get_secret_value()
    with contextlib.ExitStack() as others:
        for _ in range(4):
            others.enter_context(psycopg.connect(url))
        response = ask(api, REVENUE)
    assert (response.status_code, response.headers["retry-after"]) == (503, "2")
    assert "in use" in response.json()["detail"]
    assert "boxoffice_adhoc" not in response.text
    assert ask(api, REVENUE).status_code == 200


def test_a_statement_is_stopped_when_its_client_goes_away(settings: Settings) -> None:
    patient = settings.model_copy(update={"api_statement_timeout_seconds": 60.0})
    crossed = ", ".join(f"reporting.daily_metrics d{number}" for number in range(9))
    statement = f"SELECT count(*) FROM {crossed}, generate_series(1, 200) g WHERE d1.orders = -g"

    def sessions() -> int:
        with psycopg.connect(settings.warehouse_url.get_secret_value()) as connection:
            row = connection.execute(
                """SELECT count(*) FROM pg_stat_activity
                WHERE application_name = 'boxoffice-api-adhoc' AND datname = current_database()"""
            ).fetchone()
        return 0 if row is None else int(row[0])

    with serving(patient, adhoc.router) as other:
        app = other.client.app

        async def leave(client: Client) -> None:
            sent = asyncio.Event()

            async def receive() -> dict[str, Any]:
                if not sent.is_set():
                    sent.set()
                    return {"type": "http.request", "body": body}
                await until(sessions)
                return {"type": "http.disconnect"}

            async def send(message: dict[str, Any]) -> None:
                pass

            body = json.dumps({"sql": statement}).encode()
            headers = client.as_() | {"Content-Type": "application/json"}
            scope = {
                "type": "http",
                "method": "POST",
                "path": URL,
                "raw_path": URL.encode(),
                "query_string": b"",
                "root_path": "",
                "scheme": "http",
                "http_version": "1.1",
                "server": ("api", 80),
                "client": ("127.0.0.1", 1),
                "headers": [(n.lower().encode(), v.encode()) for n, v in headers.items()],
            }
            async with asyncio.timeout(20):
                await app(scope, receive, send)

        other.run(leave)
    assert sessions() == 0
    assert records(settings)[-1] | {"ends": 0} == {
        "account": "a@b",
        "role": "admin",
        "outcome": "cancelled",
        "statement": None,
        "reason": "the client went away",
        "row_count": None,
        "ends": 0,
    }


def test_many_columns_of_one_name_cost_no_more_than_others(api: Api) -> None:
    headers = api.client.as_() | {"Accept": "text/csv"}
    ones = {"sql": f"SELECT {', '.join(['1'] * 1400)}"}
    began = time.process_time()
    response = api.call("POST", URL, json=ones, headers=headers)
    assert response.status_code == 200, response.text
    assert time.process_time() - began < 1.5
    names = response.text.splitlines()[0].split(",")
    assert (len(set(names)), names[:2], names[-1]) == (
        1400,
        ["?column?", "?column?_2"],
        "?column?_1400",
    )
    named = {"sql": "SELECT 1 AS a, 2 AS a, 3 AS a_2, 4 AS a"}
    rows = api.call("POST", URL, json=named, headers=headers).text.splitlines()
    assert rows == ["a,a_2,a_2_2,a_3", "1,2,3,4"]


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("repeat('[', 5000) || repeat(']', 5000)", "[" * 5000 + "]" * 5000),
        ("repeat('[', 101) || repeat(']', 101)", "[" * 101 + "]" * 101),
        ("'{\"a\": ' || repeat('9', 7000) || '}'", {"a": "9" * 7000}),
        ("'[\"' || repeat('[', 200) || '\\\"\"]'", ["[" * 200 + '"']),
        ("'[' || repeat('[],', 200) || '12]'", [*[[]] * 200, 12]),
    ],
)
def test_json_of_any_shape_is_an_answer(api: Api, value: str, shown: Any) -> None:
    response = ask(api, f"SELECT ({value})::json")
    assert response.status_code == 200, response.text
    assert response.json()["data"]["rows"] == [[shown]]
