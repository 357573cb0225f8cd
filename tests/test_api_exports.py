"""Exports through the API: asked for once, followed, downloaded by their owner only, masked."""

from __future__ import annotations

import csv
import io
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import date, datetime, timedelta
from typing import Any, get_args
from urllib.parse import parse_qs, urlsplit
from uuid import UUID, uuid4

import httpx
import psycopg
import pytest
from psycopg.types.json import Jsonb

from api import export_requests
from api.routes import export_schedules, exports
from exports.attempt import Exporter, attempt_export
from exports.datasets import EXPORTS
from exports.formats.registry import FORMATS
from exports.masking import MASK, Requester, Role
from exports.submission import checked
from pipelines.definitions import build_exporter
from tests.api_platform import ABSENT, FIRST, LAST, Platform, published_platform
from tests.api_shapes import Api, differences, example_of, serving
from tests.deployment import Deployment
from warehouse.access_log import verify_access_log
from warehouse.export_jobs import create_job, renew_lease, start
from warehouse.export_rights import RightError, check_right, restore_right, revoke_right

ADMIN, ORGANIZER = exports.ADMIN, exports.ORGANIZER
SCHEDULES, OWN_SCHEDULES = export_schedules.ADMIN, export_schedules.ORGANIZER
MONTHLY = {"kind": "cron", "expression": "0 8 1 * *"}


@pytest.fixture(scope="module")
def platform(
    make_deployment: Callable[..., Deployment], role_url: Callable[[str, str], str]
) -> Platform:
    return published_platform(make_deployment, role_url)


@pytest.fixture(scope="module")
def api(platform: Platform) -> Iterator[Api]:
    with serving(platform.settings, exports.router, export_schedules.router) as found:
        yield found


@pytest.fixture(scope="module")
def exporter(platform: Platform) -> Exporter:
    return build_exporter(platform.settings)


class Person:
    """Somebody with a token who asks for exports."""

    def __init__(
        self, api: Api, role: Role = Role.ADMIN, organizer: int | None = None, account: str = ""
    ) -> None:
        self.account = account or f"{uuid4().hex[:8]}@example.org"
        self._api = api
        self.headers = api.client.as_(role, organizer, self.account)

    def __call__(self, method: str, path: str, **options: Any) -> httpx.Response:
        headers = self.headers | options.pop("headers", {})
        return self._api.call(method, path, headers=headers, **options)

    def ask(self, path: str = ADMIN, key: str | None = None, **body: Any) -> Any:
        headers = {} if key is None else {"Idempotency-Key": key}
        response = self("POST", path, json=body, headers=headers)
        assert response.status_code == 202, response.text
        job = response.json()["data"]
        assert response.headers["location"] == job["links"]["self"]
        return job

    def see(self, job: Any) -> Any:
        response = self("GET", job["links"]["self"])
        assert response.status_code == 200, response.text
        return response.json()["data"]


def work(exporter: Exporter, job: Any) -> None:
    attempt_export(exporter, UUID(job["job_id"]), 1, uuid4().hex, lambda _: None)


def rows_of(job: Any) -> list[dict[str, str]]:
    """Rows behind the link, which needs no token."""
    response = httpx.get(job["file"]["link"]["url"])
    assert response.status_code == 200, response.text
    assert len(response.content) == job["file"]["bytes"]
    return list(csv.DictReader(io.StringIO(response.text)))


def some_organizers(platform: Platform) -> dict[Role, int | None]:
    return {Role.ADMIN: None, Role.SUPER_ADMIN: None, Role.ORGANIZER: platform.organizer}


# --- From the request to the file ---------------------------------------------------------------


def test_an_export_is_queued_followed_and_downloaded(
    api: Api, platform: Platform, exporter: Exporter
) -> None:
    person = Person(api)
    days = {"first": str(FIRST), "last": str(LAST)}
    job = person.ask(type="orders", filters={"events": [platform.event], "completed": days})
    assert (job["state"], job["progress"]) == (
        "queued",
        {"rows_written": 0, "rows_total": None},
    )
    queued = person.see(job)
    assert (queued["file"], queued["manifest"]) == (None, None)
    work(exporter, job)
    done = person.see(job)
    count = platform.source(
        """SELECT count(*) AS n FROM orders
        WHERE event_id = %s AND NOT is_test
          AND (completed_at AT TIME ZONE 'Africa/Nairobi')::date BETWEEN %s AND %s""",
        (platform.event, FIRST, LAST),
    )[0]["n"]
    assert done["progress"] == {"rows_written": count, "rows_total": count}
    assert len(rows_of(done)) == count == done["manifest"]["totals"]["rows"] > 0
    link = done["file"]["link"]
    seconds = int(parse_qs(urlsplit(link["url"]).query)["X-Amz-Expires"][0])
    assert 0 < seconds <= 900
    left = datetime.fromisoformat(link["expires_at"]) - datetime.now().astimezone()
    assert timedelta(0) < left <= timedelta(minutes=15)


def test_progress_is_exact_while_a_run_writes(api: Api, exporter: Exporter) -> None:
    person = Person(api)
    job = person.ask(type="payments")
    with exporter.connect() as connection:
        _, lease = start(connection, UUID(job["job_id"]), 1, "run", timedelta(minutes=1))
        renew_lease(connection, lease, timedelta(minutes=1), rows_total=700, rows_written=300)
    seen = person.see(job)
    assert (seen["state"], seen["progress"]) == (
        "running",
        {"rows_written": 300, "rows_total": 700},
    )
    cancelled = person("DELETE", job["links"]["self"]).json()["data"]
    assert (cancelled["state"], cancelled["is_cancel_requested"]) == ("running", True)


def test_a_file_that_is_near_its_end_has_a_link_that_ends_with_it(
    api: Api, platform: Platform, exporter: Exporter
) -> None:
    person = Person(api)
    job = person.ask(type="event_summary")
    work(exporter, job)
    owner = platform.settings.warehouse_owner_url.get_secret_value()

    def expire_in(interval: str) -> None:
        with psycopg.connect(owner, autocommit=True) as connection:
            connection.execute(
                """UPDATE ops.export_jobs SET expires_at = clock_timestamp() + %s::interval
                WHERE job_id = %s""",
                (interval, job["job_id"]),
            )

    expire_in("100 seconds")
    url = person.see(job)["file"]["link"]["url"]
    assert int(parse_qs(urlsplit(url).query)["X-Amz-Expires"][0]) <= 100
    expire_in("0 seconds")
    file = person.see(job)["file"]
    assert file["link"] is None
    assert "ask for the export again" in file["why_no_link"]


# --- Asked for once -----------------------------------------------------------------------------


def test_a_key_makes_one_job_however_often_it_is_sent(api: Api, platform: Platform) -> None:
    person, key = Person(api), uuid4().hex
    body = {"type": "orders", "filters": {"events": [platform.event]}}
    with ThreadPoolExecutor(4) as threads:
        jobs = list(threads.map(lambda _: person.ask(key=key, **body), range(4)))
    assert len({job["job_id"] for job in jobs}) == 1
    other = person("POST", ADMIN, json=body | {"format": "xlsx"}, headers={"Idempotency-Key": key})
    assert other.status_code == 422
    assert other.json()["errors"][0] | {"message": ""} == {
        "field": "header.Idempotency-Key", "code": "reused", "message": ""
    }  # fmt: skip
    # Somebody else's key is another key, and without one each call makes a job.
    assert Person(api).ask(key=key, **body)["job_id"] != jobs[0]["job_id"]
    assert person.ask(**body)["job_id"] != person.ask(**body)["job_id"]


def test_own_exports_are_paged_newest_first_without_gaps(api: Api) -> None:
    person = Person(api)
    made = [person.ask(type="daily_metrics")["job_id"] for _ in range(5)]
    Person(api).ask(type="daily_metrics")
    found: list[str] = []
    cursor = ""
    while True:
        page = person("GET", f"{ADMIN}?limit=2{cursor}").json()
        found += [job["job_id"] for job in page["data"]]
        if len(found) == 2:
            made.append(person.ask(type="daily_metrics")["job_id"])  # does not shift the pages
        if page["meta"]["next"] is None:
            break
        cursor = f"&cursor={page['meta']['next']}"
    assert found == made[:5][::-1]
    assert [j["state"] for j in person("GET", f"{ADMIN}?state=failed").json()["data"]] == []


@pytest.mark.parametrize(
    "cursor", ["x", "bm90IGpzb24", "WzEsMl0", "WyIyMDI2LTAxLTAxIiwgIngiXQ", "é"]
)
def test_a_cursor_that_was_not_given_out_is_refused(api: Api, cursor: str) -> None:
    response = Person(api)("GET", ADMIN, params={"cursor": cursor})
    assert response.status_code == 422
    assert response.json()["errors"][0]["field"] == "query.cursor"


def test_a_queued_export_is_cancelled_at_once_and_a_finished_one_stays(
    api: Api, exporter: Exporter
) -> None:
    person = Person(api)
    job = person.ask(type="daily_metrics")
    for _ in range(2):
        response = person("DELETE", job["links"]["self"])
        assert (response.status_code, response.json()["data"]["state"]) == (200, "cancelled")
    done = person.ask(type="daily_metrics")
    work(exporter, done)
    response = person("DELETE", done["links"]["self"])
    assert (response.status_code, person.see(done)["state"]) == (409, "succeeded")


# --- What is wrong with a request ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "body.type"),
        ({"type": "people"}, "body.type"),
        ({"type": "orders", "colour": "red"}, "body.colour"),
        ({"type": "orders", "filters": {"colour": "red"}}, "body.filters.colour"),
        ({"type": "orders", "filters": {"completed": {"first": "x"}}},
         "body.filters.completed.first"),
        ({"type": "orders", "filters": {"events": [ABSENT]}}, "body.filters.events"),
        ({"type": "orders", "columns": ["shoe_size"]}, "body.columns"),
        ({"type": "orders", "columns": []}, "body.columns"),
        ({"type": "orders", "format": "docx"}, "body.format"),
        ({"type": "orders", "format": "pdf", "options": {"bom": True}}, "body.options.bom"),
        ({"type": "orders", "reason": "curious"}, "body.reason"),
        ({"type": "attendees", "filters": {"search": "a\0b"}}, "body"),
        ({"type": "orders", "filters": {"a": [[[[[[[[[[1]]]]]]]]]]}}, "body"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_and_nothing_is_queued(
    api: Api, body: dict[str, Any], field: str
) -> None:
    person = Person(api)
    response = person("POST", ADMIN, json=body)
    assert response.status_code == 422, response.text
    assert field in {error["field"] for error in response.json()["errors"]}
    assert person("GET", ADMIN).json()["data"] == []


@pytest.mark.parametrize("key", ["", "a" * 201, "with blank", "é".encode()])
def test_a_key_that_cannot_be_kept_is_refused(api: Api, key: str) -> None:
    response = Person(api)("POST", ADMIN, json={"type": "orders"}, headers={"Idempotency-Key": key})
    assert response.status_code == 422


def test_the_types_and_formats_of_the_api_are_those_of_exports() -> None:
    assert set(get_args(export_requests.ExportType)) == set(EXPORTS)
    assert set(get_args(export_requests.FormatName)) == set(FORMATS)


# --- Whose it is --------------------------------------------------------------------------------


def test_every_endpoint_is_closed_to_those_who_may_not(api: Api, platform: Platform) -> None:
    key, event = uuid4(), platform.event

    def those(*calls: str) -> list[list[str]]:
        return [call.split(" ") for call in calls]

    admin = those(
        *(f"{method} {path}" for path in (ADMIN, SCHEDULES) for method in ("GET", "POST")),
        *(f"{m} {path}/{key}" for path in (ADMIN, SCHEDULES) for m in ("GET", "DELETE")),
        f"POST {SCHEDULES}/{key}/pause",
    )
    own = those(
        *(f"{method} {ORGANIZER}/attendees/{event}" for method in ("GET", "POST")),
        *(f"{m} {path}/{key}" for path in (ORGANIZER, OWN_SCHEDULES) for m in ("GET", "DELETE")),
        *(f"GET {path}" for path in (ORGANIZER, OWN_SCHEDULES)),
        f"POST {OWN_SCHEDULES}",
        f"POST {OWN_SCHEDULES}/{key}/resume",
    )
    organizer = Person(api, Role.ORGANIZER, platform.organizer)
    viewers = Person(api, Role.VIEWER), Person(api, Role.VIEWER, platform.organizer)
    for method, path in admin:
        for person in (organizer, *viewers):
            assert person(method, path).status_code == 403, (method, path)
    for method, path in own:
        for person in viewers:
            assert person(method, path).status_code == 403, (method, path)
    for method, path in (*admin, *own):
        assert api.call(method, path, headers={}).status_code == 401


def test_a_foreign_and_an_absent_export_are_answered_alike(
    api: Api, platform: Platform, exporter: Exporter
) -> None:
    owner = Person(api, Role.ORGANIZER, platform.organizer)
    job = owner.ask(f"{ORGANIZER}/attendees/{platform.event}")
    work(exporter, job)
    assert owner.see(job)["file"]["link"]
    strangers = {
        "another account": Person(api, Role.ORGANIZER, platform.organizer),
        "another organizer": Person(api, Role.ORGANIZER, platform.other, owner.account),
        "another role": Person(api, Role.ADMIN, None, owner.account),
    }
    for who, stranger in strangers.items():
        for method in ("GET", "DELETE"):
            foreign = stranger(method, f"{ORGANIZER}/{job['job_id']}")
            absent = stranger(method, f"{ORGANIZER}/{uuid4()}")
            assert foreign.status_code == absent.status_code == 404, who
            assert foreign.json() | {"request_id": ""} == absent.json() | {"request_id": ""}
            varying = {"x-request-id", "ratelimit-remaining"}
            assert {k: v for k, v in foreign.headers.items() if k not in varying} == {
                k: v for k, v in absent.headers.items() if k not in varying
            }
        assert stranger("GET", ORGANIZER).json()["data"] == []
    assert owner.see(job)["state"] == "succeeded"


def test_a_foreign_and_an_absent_event_are_answered_alike(api: Api, platform: Platform) -> None:
    person = Person(api, Role.ORGANIZER, platform.organizer)
    for method in ("GET", "POST"):
        foreign, absent = (
            person(method, f"{ORGANIZER}/attendees/{event}")
            for event in (platform.foreign_event, ABSENT)
        )
        assert foreign.status_code == absent.status_code == 404
        assert foreign.json() | {"request_id": ""} == absent.json() | {"request_id": ""}
    assert person("GET", ORGANIZER).json()["data"] == []


def test_a_link_is_not_made_once_an_event_is_somebody_elses(
    api: Api, platform: Platform, exporter: Exporter
) -> None:
    person = Person(api, Role.ORGANIZER, platform.organizer)
    job = person.ask(f"{ORGANIZER}/attendees/{platform.event}")
    work(exporter, job)
    owner = platform.settings.warehouse_owner_url.get_secret_value()
    with psycopg.connect(owner, autocommit=True) as connection:
        # As if the export had named an event that went to another organizer since.
        connection.execute(
            "UPDATE ops.export_jobs SET filters = %s WHERE job_id = %s",
            (Jsonb({"events": [platform.foreign_event]}), job["job_id"]),
        )
    file = person.see(job)["file"]
    assert (file["link"], file["why_no_link"]) == (
        None,
        "An event of the export is not yours any more.",
    )


def test_a_link_to_rows_of_every_event_ends_when_one_of_them_goes_to_somebody_else(
    api: Api, platform: Platform, exporter: Exporter
) -> None:
    person = Person(api, Role.ORGANIZER, platform.organizer)
    requester = Requester(role=Role.ORGANIZER, organizer_id=platform.organizer)
    with exporter.connect() as connection:
        asked = checked(
            connection,
            person.account,
            requester,
            "daily_metrics",
            filters={},
            lake=exporter.sources.lake,
        )
        made, _ = create_job(connection, asked, uuid4().hex)
    job = {"job_id": str(made.job_id), "links": {"self": f"{ORGANIZER}/{made.job_id}"}}
    work(exporter, job)
    seen = person.see(job)
    assert seen["file"]["link"] is not None
    own = platform.rows(
        "SELECT DISTINCT event_id FROM reporting.daily_metrics WHERE organizer_id = %s ORDER BY 1",
        (platform.organizer,),
    )
    assert seen["manifest"]["events"] == [row["event_id"] for row in own]
    owner = platform.settings.warehouse_owner_url.get_secret_value()
    with psycopg.connect(owner, autocommit=True) as connection:
        # As if one of them had gone to another organizer since.
        connection.execute(
            "UPDATE ops.export_jobs SET manifest = jsonb_set(manifest, '{events,0}', %s)"
            " WHERE job_id = %s",
            (Jsonb(platform.foreign_event), made.job_id),
        )
    file = person.see(job)["file"]
    assert (file["link"], file["why_no_link"]) == (
        None,
        "An event of the export is not yours any more.",
    )


# --- Personal data ------------------------------------------------------------------------------


def people(platform: Platform) -> dict[str, tuple[str | None, bool]]:
    return {
        str(row["ticket_id"]): (row["attendee_email"], row["contact_consent"])
        for row in platform.source(
            "SELECT ticket_id, attendee_email, contact_consent FROM tickets WHERE event_id = %s",
            (platform.event,),
        )
    }


def emails_of(job: Any) -> dict[str, str]:
    """Ticket → what the file has as e-mail; a file's headers are for people."""
    return dict(tuple(row.values()) for row in rows_of(job))


def accesses(platform: Platform, job: Any) -> list[dict[str, Any]]:
    return platform.rows(
        "SELECT actor, role, reason, row_count, clear_columns FROM ops.access_log"
        " WHERE job_id = %s AND action = 'export'",
        (job["job_id"],),
    )


def test_masks_hold_through_the_api(api: Api, platform: Platform, exporter: Exporter) -> None:
    known = people(platform)
    # Contact data of tickets sold before the first loaded day is not loaded.
    sold = {"first": str(FIRST), "last": str(LAST)}
    body = {
        "type": "attendees",
        "filters": {"events": [platform.event], "sold": sold},
        "columns": ["ticket_id", "attendee_email"],
    }
    reason = "Refund dispute 4711"
    callers = {
        "admin": (Person(api), body),
        "super admin without a reason": (Person(api, Role.SUPER_ADMIN), body),
        "super admin": (Person(api, Role.SUPER_ADMIN), body | {"reason": reason}),
    }
    shown = {}
    jobs = {}
    for who, (person, asked) in callers.items():
        jobs[who] = person.ask(**asked)
        work(exporter, jobs[who])
        shown[who] = emails_of(person.see(jobs[who]))
    clear = {ticket: known[ticket][0] or "" for ticket in shown["admin"]}
    assert len(set(clear.values())) > 5
    assert set(shown["admin"].values()) <= {MASK, ""}
    assert shown["super admin without a reason"] == shown["admin"]
    assert shown["super admin"] == clear
    assert accesses(platform, jobs["admin"]) == []
    [entry] = accesses(platform, jobs["super admin"])
    assert entry == {
        "actor": callers["super admin"][0].account,
        "role": "super_admin",
        "reason": reason,
        "row_count": len(clear),
        "clear_columns": ["attendee_email"],
    }
    found = {}
    for person in (Person(api, Role.ORGANIZER, platform.organizer), Person(api)):
        job = person.ask(
            f"{ORGANIZER}/attendees/{platform.event}",
            filters={"sold": sold},
            columns=["ticket_id", "attendee_email"],
        )
        work(exporter, job)
        found[job["role"]] = emails_of(person.see(job))
    assert found["organizer"] == {
        ticket: email if known[ticket][1] or not email else MASK for ticket, email in clear.items()
    }
    assert found["admin"] == shown["admin"], "the organizer's path shows an admin nothing more"
    assert len({known[ticket][1] for ticket in clear}) == 2, "both kinds of consent occur"


def given(platform: Platform, job: Any) -> list[tuple[str, str, int, list[str]]]:
    """What the access log says of a job: what was done, by whom, rows and clear columns."""
    return [
        (row["action"], row["actor"], row["row_count"], row["clear_columns"])
        for row in platform.rows(
            "SELECT * FROM ops.access_log WHERE job_id = %s ORDER BY entry", (job["job_id"],)
        )
    ]


def test_each_link_and_download_of_clear_personal_data_is_recorded(
    api: Api, platform: Platform, exporter: Exporter
) -> None:
    organizer = Person(api, Role.ORGANIZER, platform.organizer)
    response, job = download(organizer, platform, exporter)
    assert response.status_code == 200, response.text
    rows = organizer.see(job)["progress"]["rows_total"]
    columns = given(platform, job)[0][3]
    assert "attendee_email" in columns
    expected = [(done, organizer.account, rows, columns) for done in ("export", "download", "link")]
    assert given(platform, job) == expected
    organizer.see(job)
    assert given(platform, job) == [*expected, expected[-1]]
    with exporter.connect() as connection:
        assert verify_access_log(connection) == []


def test_what_shows_nobody_clear_is_not_recorded_as_if_it_did(
    api: Api, platform: Platform, exporter: Exporter
) -> None:
    filters = {"events": [platform.event]}
    numbers = ["ticket_id", "attendee_key"]
    organizer = Person(api, Role.ORGANIZER, platform.organizer)
    for person, path, body in (
        (Person(api), ADMIN, {"type": "attendees", "filters": filters}),
        (Person(api, Role.SUPER_ADMIN), ADMIN, {"type": "attendees", "filters": filters}),
        (organizer, f"{ORGANIZER}/attendees/{platform.event}", {"columns": numbers}),
    ):
        job = person.ask(path, **body)
        work(exporter, job)
        assert person.see(job)["file"]["link"]
        assert given(platform, job) == []


def test_nothing_clear_leaves_where_it_cannot_be_recorded(
    api: Api, platform: Platform, exporter: Exporter
) -> None:
    person = Person(api, Role.ORGANIZER, platform.organizer)
    response, job = download(person, platform, exporter)
    assert response.status_code == 200
    url = type(platform.settings.warehouse_url)("postgresql://127.0.0.1:9/x")
    away = platform.settings.model_copy(update={"warehouse_url": url})
    with serving(away, exports.router) as other:
        same = Person(other, Role.ORGANIZER, platform.organizer, person.account)
        path = f"{ORGANIZER}/attendees/{platform.event}"
        for answer in (same("GET", job["links"]["self"]), same("GET", path)):
            assert answer.status_code == 503
            assert "http" not in answer.json()["detail"]


# --- Attendees at once --------------------------------------------------------------------------


def download(
    person: Person, platform: Platform, exporter: Exporter | None
) -> tuple[httpx.Response, Any]:
    """Download while, with an exporter, somebody works on what is queued meanwhile."""
    answers: list[httpx.Response] = []
    path = f"{ORGANIZER}/attendees/{platform.event}"
    asking = threading.Thread(target=lambda: answers.append(person("GET", path)))
    asking.start()
    deadline = time.monotonic() + 10
    while not (jobs := person("GET", ORGANIZER).json()["data"]):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    if exporter is not None and jobs[0]["state"] == "queued":
        work(exporter, jobs[0])
    asking.join(40)
    return answers[0], jobs[0]


def test_few_attendees_come_at_once_and_a_second_call_makes_no_second_file(
    api: Api, platform: Platform, exporter: Exporter
) -> None:
    person = Person(api, Role.ORGANIZER, platform.organizer)
    response, job = download(person, platform, exporter)
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "text/csv; charset=utf-8"
    assert response.headers["content-disposition"].startswith('attachment; filename="attendees-')
    assert "no-store" in response.headers["cache-control"]
    rows = list(csv.DictReader(io.StringIO(response.text)))
    assert len(rows) == person.see(job)["progress"]["rows_total"] > 0
    again = person("GET", f"{ORGANIZER}/attendees/{platform.event}")
    assert again.content == response.content
    assert len(person("GET", ORGANIZER).json()["data"]) == 1


@pytest.mark.parametrize("why", ["nobody makes it in time", "the event is large"])
def test_what_takes_longer_is_a_job_to_follow(
    api: Api, platform: Platform, monkeypatch: pytest.MonkeyPatch, why: str
) -> None:
    if why == "the event is large":
        monkeypatch.setattr(exports, "SMALL_TICKETS", 0)
    else:
        monkeypatch.setattr(exports, "WAIT_SECONDS", 0.3)
    person = Person(api, Role.ORGANIZER, platform.organizer)
    response, job = download(person, platform, None)
    assert (response.status_code, response.headers["location"]) == (303, job["links"]["self"])
    again = person("GET", f"{ORGANIZER}/attendees/{platform.event}")
    assert again.headers["location"] == job["links"]["self"]


def test_a_download_that_was_cancelled_says_so(api: Api, platform: Platform) -> None:
    person = Person(api, Role.ORGANIZER, platform.organizer)
    answers: list[httpx.Response] = []
    path = f"{ORGANIZER}/attendees/{platform.event}"
    asking = threading.Thread(target=lambda: answers.append(person("GET", path)))
    asking.start()
    deadline = time.monotonic() + 10
    while not (jobs := person("GET", ORGANIZER).json()["data"]):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    person("DELETE", jobs[0]["links"]["self"])
    asking.join(40)
    assert (answers[0].status_code, "ask again" in answers[0].json()["detail"]) == (409, True)


# --- Recurring exports --------------------------------------------------------------------------


def test_a_recurring_export_is_made_paused_resumed_and_ended(api: Api, platform: Platform) -> None:
    for path, role, type_ in (
        (SCHEDULES, Role.ADMIN, "revenue"),
        (OWN_SCHEDULES, Role.ORGANIZER, "attendees"),
    ):
        person = Person(api, role, some_organizers(platform)[role])
        days = {"days" if type_ == "revenue" else "sold": {"relative": "last_month"}}
        body = {"type": type_, "filters": days, "recurrence": MONTHLY}
        response = person("POST", path, json=body)
        assert response.status_code == 201, response.text
        made = response.json()["data"]
        assert response.headers["location"] == made["links"]["self"]
        assert (made["filters"], made["recurrence"]["time_zone"]) == (days, "Africa/Nairobi")
        due = datetime.fromisoformat(made["next_due_at"])
        assert (due.day, due.hour, due.minute) == (1, 5, 0)
        own = made["links"]["self"]
        paused = person("POST", f"{own}/pause").json()["data"]
        assert (paused["is_paused"], paused["pause_reason"]) == (True, "Paused by its owner.")
        assert person("POST", f"{own}/resume").json()["data"]["is_paused"] is False
        assert [s["schedule_id"] for s in person("GET", path).json()["data"]] == [
            made["schedule_id"]
        ]
        assert Person(api, role, some_organizers(platform)[role])("GET", own).status_code == 404
        assert person("DELETE", own).status_code == 200
        assert person("GET", own).status_code == person("DELETE", own).status_code == 404
        assert person("GET", path).json()["data"] == []


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"recurrence": {"expression": "* * * * *"}}, "body.recurrence"),
        ({"recurrence": {"expression": "every monday"}}, "body.recurrence.expression"),
        ({"recurrence": MONTHLY | {"time_zone": "Mars/Olympus"}}, "body.recurrence.time_zone"),
        ({"recurrence": MONTHLY | {"kind": "moon"}}, "body.recurrence.kind"),
        ({"recurrence": None}, "body.recurrence"),
        ({"filters": {"days": {"relative": "someday"}}}, "body.filters.days.relative"),
        ({"reason": "curious"}, "body.reason"),
    ],
)
def test_a_wrong_recurring_export_is_refused(api: Api, changes: dict[str, Any], field: str) -> None:
    body = {"type": "revenue", "recurrence": MONTHLY} | changes
    response = Person(api)("POST", SCHEDULES, json=body)
    assert response.status_code == 422, response.text
    found = {error["field"] for error in response.json()["errors"]}
    assert any(name.startswith(field) for name in found), found


def test_an_account_whose_right_was_taken_away_makes_none(api: Api, exporter: Exporter) -> None:
    person = Person(api)
    body = {"type": "revenue", "recurrence": MONTHLY}
    made = person("POST", SCHEDULES, json=body).json()["data"]
    with exporter.connect() as connection:
        revoke_right(connection, person.account, "left the company")
    response = person("POST", SCHEDULES, json=body)
    assert (response.status_code, "left the company" in response.text) == (403, True)
    person("POST", f"{made['links']['self']}/pause")
    assert person("POST", f"{made['links']['self']}/resume").status_code == 403
    with exporter.connect() as connection:
        restore_right(connection, person.account)
    assert person("POST", f"{made['links']['self']}/resume").status_code == 200


def test_an_organizer_who_became_a_viewer_has_no_recurring_exports_any_more(
    api: Api, platform: Platform, exporter: Exporter
) -> None:
    person = Person(api, Role.ORGANIZER, platform.organizer)
    stranger = Person(api, Role.VIEWER, platform.organizer)
    body = {"type": "attendees", "recurrence": MONTHLY}
    assert person("POST", OWN_SCHEDULES, json=body).status_code == 201

    def may_own() -> None:
        with exporter.connect() as connection:
            right = person.account, "organizer", platform.organizer
            check_right(connection, *right, timedelta(days=1))

    def look(account: str, first: date) -> None:
        viewer = Person(api, Role.VIEWER, platform.organizer, account)
        path = f"/api/organizer/analytics/sales-chart/{platform.event}?from={first}&to={LAST}"
        assert viewer("GET", path).status_code == 200
        api.run(lambda client: client.app.state.services.database.viewers.settle())

    may_own()
    look(stranger.account, FIRST)
    may_own()
    look(person.account, FIRST + timedelta(days=1))  # an answer that is not kept yet
    with pytest.raises(RightError, match="is now viewer"):
        may_own()
    assert platform.rows(
        "SELECT account FROM ops.export_rights WHERE account = %s", [stranger.account]
    ) == [], "who never asked for exports is not written down"  # fmt: skip
    # Whoever is an organizer again says so by asking for exports.
    assert person("POST", OWN_SCHEDULES, json=body).status_code == 201
    may_own()


# --- The document and the parts behind ----------------------------------------------------------


def test_the_examples_have_the_members_of_real_answers(
    api: Api, platform: Platform, exporter: Exporter
) -> None:
    document = api.client.app.openapi()
    free = ("manifest", "filters", "columns", "options")
    one = "/{job}"

    def check(person: Person, method: str, path: str, template: str, **options: Any) -> Any:
        response = person(method.upper(), path, **options)
        assert response.status_code < 300, response.text
        example = example_of(document, method, template, response.status_code)
        assert differences(example, response.json(), free=free) == []
        return response.json()["data"]

    admin = Person(api)
    for person, base in (
        (admin, ADMIN),
        (Person(api, Role.ORGANIZER, platform.organizer), ORGANIZER),
    ):
        if base == ADMIN:
            job = check(person, "post", base, base, json={"type": "attendees"})
        else:
            attendees = f"{base}/attendees/{{event}}"
            job = check(person, "post", attendees.format(event=platform.event), attendees)
        work(exporter, job)
        check(person, "get", base, base)
        check(person, "get", f"{base}/{job['job_id']}", base + one)
        queued = person.ask(*([ADMIN] if base == ADMIN else [f"{base}/attendees/{platform.event}"]),
                            **({"type": "orders"} if base == ADMIN else {}))  # fmt: skip
        check(person, "delete", queued["links"]["self"], base + one)
    body = {"type": "revenue", "recurrence": MONTHLY}
    made = check(admin, "post", SCHEDULES, SCHEDULES, json=body)
    own = f"{SCHEDULES}/{{schedule}}"
    check(admin, "get", SCHEDULES, SCHEDULES)
    check(admin, "get", made["links"]["self"], own)
    check(admin, "post", f"{made['links']['self']}/pause", f"{own}/{{change}}")
    check(admin, "delete", made["links"]["self"], own)


def test_a_store_that_is_away_is_told_and_a_link_needs_none(
    platform: Platform, exporter: Exporter, api: Api
) -> None:
    person = Person(api, Role.ORGANIZER, platform.organizer)
    response, job = download(person, platform, exporter)
    assert response.status_code == 200
    away = platform.settings.model_copy(update={"s3_endpoint_url": "http://127.0.0.1:9"})
    with serving(away, exports.router) as other:
        same = Person(other, Role.ORGANIZER, platform.organizer, person.account)
        assert same.see(job)["file"]["link"]["url"].startswith("http://127.0.0.1:9/")
        response = same("GET", f"{ORGANIZER}/attendees/{platform.event}")
        assert (response.status_code, response.json()["type"].split(":")[-1]) == (
            503,
            "unavailable",
        )


def test_the_writers_database_being_away_is_told(platform: Platform) -> None:
    away = platform.settings.model_copy(
        update={
            "warehouse_url": type(platform.settings.warehouse_url)("postgresql://127.0.0.1:9/x")
        }
    )
    with serving(away, exports.router) as api:
        response = Person(api)("POST", ADMIN, json={"type": "orders"})
    assert (response.status_code, response.headers["retry-after"]) == (503, "2")
