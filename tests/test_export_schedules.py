"""Recurring exports make each job once, for owners who may still have it, and stop failing."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import dagster as dg
import psycopg
import pytest

from exports.filters import RequestError
from exports.masking import Requester, Role
from exports.recurrence import Recurrence
from metrics.datasets import DATASETS
from resources.warehouse import Warehouse
from sensors.recurring_exports import EvaluationError, build_recurring_exports
from warehouse.export_jobs import (
    ExportRequest,
    FinishedFile,
    create_job,
    fail,
    finish,
    list_jobs,
    request_cancel,
    start,
)
from warehouse.export_rights import (
    RightError,
    UnknownAccountError,
    check_right,
    remember_right,
    restore_right,
    revoke_right,
)
from warehouse.export_schedules import (
    PAUSED_BY_OWNER,
    Firing,
    Policy,
    Schedule,
    UnknownScheduleError,
    create_schedule,
    due,
    end_schedule,
    fire,
    get_schedule,
    list_schedules,
    pause_schedule,
    resume_schedule,
    settle,
)
from warehouse.export_states import Job
from warehouse.publish import connect

Connection = psycopg.Connection[dict[str, Any]]

POLICY = Policy(time_zone="Africa/Nairobi")
NOON_AWAY = datetime.now(UTC) + timedelta(hours=3 + 12)
DAILY = Recurrence("cron", f"0 {NOON_AWAY.hour} * * *", "Africa/Nairobi")
"""Due about half a day from now, so that what is made due by hand is never due by itself too."""
ORGANIZER = Requester(role=Role.ORGANIZER, organizer_id=7)
ADMIN = Requester(role=Role.ADMIN)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
STALE = POLICY.stale_after


@pytest.fixture
def warehouse(urls: tuple[str, str, str], owner: Connection) -> Iterator[Connection]:
    """A connection as publisher: event 70 is organizer 7's, whom amina acts for."""
    owner.execute(
        "TRUNCATE ops.export_schedules, ops.export_jobs, ops.export_job_events, ops.export_rights,"
        " reporting.event_summary CASCADE"
    )
    zeros = ", ".join(f"{name}" for name in DATASETS["event_summary"].metric_names)
    owner.execute(
        f"""INSERT INTO reporting.event_summary (event_id, organizer_id, organizer_name,
            event_name, event_time_zone, currency, status, {zeros})
        VALUES (70, 7, 'O', 'E', 'Africa/Nairobi', 'KES', 'on_sale',
            {", ".join("0" for _ in DATASETS["event_summary"].metric_names)})""".encode()
    )
    with connect(urls[1]) as connection:
        remember_right(connection, "amina", "organizer", 7)
        remember_right(connection, "juma", "admin", None)
        yield connection


def make(
    connection: Connection,
    account: str = "amina",
    requester: Requester = ORGANIZER,
    recurrence: Recurrence = DAILY,
    policy: Policy = POLICY,
    **asked: Any,
) -> Schedule:
    asked = {"filters": {"events": [70], "sold": {"relative": "yesterday"}}} | asked
    return create_schedule(connection, policy, account, requester, recurrence, "attendees", **asked)


def come_due(owner: Connection, schedule: Schedule, ago: timedelta = timedelta(minutes=1)) -> None:
    """Let it be due since a while ago, as if time had passed."""
    owner.execute(
        "UPDATE ops.export_schedules SET next_due_at = clock_timestamp() - %s"
        " WHERE schedule_id = %s",
        (ago, schedule.schedule_id),
    )


def fired(connection: Connection, owner: Connection, schedule: Schedule) -> Firing:
    come_due(owner, schedule)
    firing = fire(connection, POLICY, schedule.schedule_id)
    assert firing is not None
    return firing


def job_of(connection: Connection, owner: Connection, schedule: Schedule) -> Job:
    # At another instant each time, or it would be the same job.
    job = fired(connection, owner, schedule).job
    assert job is not None
    owner.execute(
        "UPDATE ops.export_jobs SET idempotency_key = %s WHERE job_id = %s",
        (uuid4().hex, job.job_id),
    )
    return job


def end_job(connection: Connection, job: Job, end: str) -> None:
    if end == "cancelled":
        request_cancel(connection, job.job_id)
        return
    _, lease = start(connection, job.job_id, 1, "run", HOUR)
    if end == "failed":
        fail(connection, lease, "The disk is full.")
    else:
        file = FinishedFile(key=uuid4().hex, size=1, rows=0, manifest={}, data_version="v")
        finish(connection, lease, file, DAY)


def paused_for(firing: Firing | None) -> str:
    assert firing is not None
    assert firing.job is None
    assert firing.schedule.paused_at is not None
    assert firing.schedule.pause_reason is not None
    return firing.schedule.pause_reason


def tick(url: str, policy: Policy = POLICY, **options: Any) -> str:
    sensor = build_recurring_exports(policy, **options)
    with dg.build_sensor_context(resources={"warehouse": Warehouse(url)}) as context:
        result = sensor(context)
    assert isinstance(result, dg.SkipReason)
    assert result.skip_message is not None
    return result.skip_message


def test_a_recurring_export_makes_a_job_whenever_it_is_due(
    warehouse: Connection, owner: Connection
) -> None:
    schedule = make(warehouse, format_name="xlsx")
    now = datetime.now(UTC)
    assert schedule.next_due_at == DAILY.next_after(now)
    assert schedule.filters["sold"] == {"relative": "yesterday"}
    assert due(warehouse, 10) == []
    assert fire(warehouse, POLICY, schedule.schedule_id) is None, "it is not due"

    come_due(owner, schedule)
    assert [each.schedule_id for each in due(warehouse, 10)] == [schedule.schedule_id]
    firing = fire(warehouse, POLICY, schedule.schedule_id)
    assert firing is not None
    job = firing.job
    assert job is not None
    assert (job.requester, job.role, job.organizer_id) == ("amina", "organizer", 7)
    assert (job.dataset, job.format, job.schedule_id) == (
        "attendees",
        "xlsx",
        schedule.schedule_id,
    )
    assert job.columns == schedule.columns
    due_at = firing.schedule.last_due_at
    assert due_at is not None
    yesterday = (due_at + 3 * HOUR - DAY).date().isoformat()  # in Nairobi
    assert job.filters == {
        "events": [70],
        "kinds": ["admission"],
        "include_test": False,
        "sold": {"first": yesterday, "last": yesterday},
    }
    assert firing.missed == firing.schedule.last_missed == 0
    assert firing.schedule.next_due_at == DAILY.next_after(datetime.now(UTC))
    assert fire(warehouse, POLICY, schedule.schedule_id) is None, "it was due once"


def test_relative_days_are_counted_from_the_reporting_day_it_was_due(
    warehouse: Connection, owner: Connection
) -> None:
    midnight = Recurrence("cron", "30 0 1 * *", "Africa/Nairobi")
    schedule = make(warehouse, recurrence=midnight, filters={"sold": {"relative": "last_month"}})
    due_at = datetime(2026, 2, 28, 21, 30, tzinfo=UTC)  # 1 March in Nairobi, February in UTC
    owner.execute("UPDATE ops.export_schedules SET next_due_at = %s", (due_at,))
    following = midnight.next_after(datetime.now(UTC))
    firing = fire(warehouse, POLICY, schedule.schedule_id)
    assert firing is not None
    assert firing.job is not None
    # What was missed since is made up for by one job, as of the last time.
    missed = _until(midnight, due_at, datetime.now(UTC))
    assert firing.missed == firing.schedule.last_missed == len(missed)
    last = missed[-1] if missed else due_at
    first_day = ((last + 3 * HOUR).replace(day=1) - DAY).replace(day=1).date()
    assert firing.job.filters["sold"]["first"] == first_day.isoformat()
    assert firing.schedule.last_due_at == last
    assert firing.schedule.next_due_at == following
    assert [len(list_jobs(warehouse, "amina", 10).jobs), due(warehouse, 10)] == [1, []]


def _until(recurrence: Recurrence, after: datetime, until: datetime) -> list[datetime]:
    found = []
    for instant in recurrence.occurrences(after):
        if instant > until:
            return found
        found.append(instant)
    return found


def test_missed_times_become_one_job_and_the_tick_says_so(
    warehouse: Connection, owner: Connection, urls: tuple[str, str, str]
) -> None:
    schedule = make(warehouse)
    now = datetime.now(UTC)
    first = DAILY.next_after(now - 4 * DAY)
    owner.execute("UPDATE ops.export_schedules SET next_due_at = %s", (first,))
    message = tick(urls[1])
    (job,) = list_jobs(warehouse, "amina", 10).jobs
    assert message == (
        f"made 1 job; job {job.job_id} also stands for 3 times that it was due before"
    )
    after = get_schedule(warehouse, schedule.schedule_id, "amina")
    assert after.last_missed == 3
    assert after.last_due_at == DAILY.next_after(now - DAY)
    assert tick(urls[1]) == "no recurring export was due"


def test_two_ticks_at_once_make_each_job_once(
    warehouse: Connection, owner: Connection, urls: tuple[str, str, str]
) -> None:
    made = [make(warehouse) for _ in range(5)]
    for schedule in made:
        come_due(owner, schedule)
    barrier = threading.Barrier(4)

    def fire_all(_: int) -> int:
        with connect(urls[1]) as connection:
            waiting = due(connection, 10)
            barrier.wait()
            found = [fire(connection, POLICY, each.schedule_id) for each in waiting]
            return sum(each is not None for each in found)

    with ThreadPoolExecutor(4) as pool:
        counts = list(pool.map(fire_all, range(4)))
    assert sum(counts) == 5
    jobs = list_jobs(warehouse, "amina", 50).jobs
    assert sorted(str(job.schedule_id) for job in jobs) == sorted(str(m.schedule_id) for m in made)


def test_what_another_tick_has_in_hand_is_left_to_it(
    warehouse: Connection, owner: Connection, urls: tuple[str, str, str]
) -> None:
    schedule = make(warehouse)
    come_due(owner, schedule)
    with owner.transaction():
        owner.execute("SELECT FROM ops.export_schedules FOR UPDATE")
        warehouse.execute("SET lock_timeout = '5s'")
        assert fire(warehouse, POLICY, schedule.schedule_id) is None
    assert fire(warehouse, POLICY, schedule.schedule_id) is not None


def test_the_same_instant_never_makes_a_second_job(
    warehouse: Connection, owner: Connection
) -> None:
    schedule = make(warehouse)
    at = datetime.now(UTC).replace(second=0, microsecond=0) - timedelta(minutes=5)
    for _ in range(2):
        owner.execute("UPDATE ops.export_schedules SET next_due_at = %s", (at,))
        firing = fire(warehouse, POLICY, schedule.schedule_id)
        assert firing is not None
    (job,) = list_jobs(warehouse, "amina", 10).jobs
    assert job.idempotency_key == f"schedule:{schedule.schedule_id}:{at:%Y-%m-%dT%H:%M:%SZ}"


def test_a_key_that_was_taken_for_something_else_pauses_and_holds_up_nobody(
    warehouse: Connection, owner: Connection, urls: tuple[str, str, str]
) -> None:
    schedule, other = make(warehouse), make(warehouse)
    at = datetime.now(UTC).replace(second=0, microsecond=0) - timedelta(minutes=5)
    request = ExportRequest(
        requester="amina",
        role="organizer",
        organizer_id=7,
        dataset="orders",
        filters={},
        columns=[],
        format="csv",
        options={},
    )
    create_job(warehouse, request, f"schedule:{schedule.schedule_id}:{at:%Y-%m-%dT%H:%M:%SZ}")
    owner.execute("UPDATE ops.export_schedules SET next_due_at = %s", (at,))
    assert tick(urls[1]) == (
        f"made 1 job; paused, because request or right do not hold any more: {schedule.schedule_id}"
    )
    assert get_schedule(warehouse, other.schedule_id).paused_at is None


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("DELETE FROM ops.export_rights", "is not known here"),
        (
            "UPDATE ops.export_rights SET revoked_at = now(), revoked_reason = 'Left in May.'",
            "was taken away (Left in May.)",
        ),
        (
            "UPDATE ops.export_rights SET granted_at = '2020-1-1', seen_at = current_date - 91",
            "more than 90 days ago: sign in, then resume",
        ),
        (
            "UPDATE ops.export_rights SET organizer_id = 8 WHERE account = 'amina'",
            "is now organizer 8, and the export was set up as organizer 7: set it up anew",
        ),
        (
            "UPDATE ops.export_rights SET role = 'viewer'",
            "is now viewer 7, and the export was set up as organizer 7",
        ),
        (
            "UPDATE ops.export_rights SET role = 'admin', organizer_id = NULL",
            "is now admin, and the export was set up as organizer 7",
        ),
    ],
)
def test_an_owner_whose_right_is_gone_gets_no_job(
    warehouse: Connection, owner: Connection, change: str, reason: str
) -> None:
    schedule = make(warehouse)
    owner.execute(change.encode())
    assert reason in paused_for(fired(warehouse, owner, schedule))
    assert list_jobs(warehouse, "amina", 10).jobs == []
    assert due(warehouse, 10) == []
    with pytest.raises(RightError):
        resume_schedule(warehouse, POLICY, schedule.schedule_id, "amina")


def test_a_right_just_before_it_is_stale_still_holds(
    warehouse: Connection, owner: Connection
) -> None:
    schedule = make(warehouse)
    owner.execute(
        "UPDATE ops.export_rights SET seen_at = seen_at - %(d)s, granted_at = granted_at - %(d)s",
        {"d": STALE - HOUR},
    )
    assert fired(warehouse, owner, schedule).job is not None
    shorter = replace(POLICY, stale_after=STALE - 2 * HOUR)
    come_due(owner, schedule, HOUR)
    assert "last seen" in paused_for(fire(warehouse, shorter, schedule.schedule_id))


def test_an_event_that_moved_to_another_organizer_pauses_and_back_again_resumes(
    warehouse: Connection, owner: Connection
) -> None:
    schedule = make(warehouse)
    owner.execute("UPDATE reporting.event_summary SET organizer_id = 8")
    reason = paused_for(fired(warehouse, owner, schedule))
    assert reason == "No export was made: filters.events: there is no event 70"
    assert list_jobs(warehouse, "amina", 10).jobs == []
    with pytest.raises(RequestError, match="there is no event 70"):
        resume_schedule(warehouse, POLICY, schedule.schedule_id, "amina")
    owner.execute("UPDATE reporting.event_summary SET organizer_id = 7")
    resumed = resume_schedule(warehouse, POLICY, schedule.schedule_id, "amina")
    assert (resumed.paused_at, resumed.pause_reason) == (None, None)
    assert resumed.next_due_at == DAILY.next_after(datetime.now(UTC))
    assert fired(warehouse, owner, schedule).job is not None


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("dataset = 'guests'", "'guests' is not a dataset"),
        ("columns = '[\"shoe_size\"]'", "'shoe_size' is not a column of attendees"),
        ("format = 'dbf'", "'dbf' is not a format"),
        ('filters = \'{"sold": {"relative": "once"}}\'', "there are today, yesterday"),
        ("recurrence = 'now and then'", "is not a cron expression"),
        ("time_zone = 'Africa/Atlantis'", "is not a time zone"),
    ],
)
def test_a_request_that_does_not_hold_any_more_pauses(
    warehouse: Connection, owner: Connection, change: str, reason: str
) -> None:
    schedule = make(warehouse)
    owner.execute(f"UPDATE ops.export_schedules SET {change}".encode())
    assert reason in paused_for(fired(warehouse, owner, schedule))


def test_three_failures_in_a_row_pause_with_the_last_reason(
    warehouse: Connection, owner: Connection
) -> None:
    schedule = make(warehouse)
    counts = []
    for end in ("failed", "failed", "succeeded", "failed", "cancelled", "failed", "cancelled"):
        end_job(warehouse, job_of(warehouse, owner, schedule), end)
        assert settle(warehouse, 3) == []
        counts.append(get_schedule(warehouse, schedule.schedule_id).consecutive_failures)
    assert counts == [1, 2, 0, 1, 1, 2, 2]
    end_job(warehouse, job_of(warehouse, owner, schedule), "failed")
    (paused,) = settle(warehouse, 3)
    assert paused.consecutive_failures == 3
    assert paused.pause_reason == (
        "3 exports in a row failed. Put right what the last one says, then resume:"
        " The disk is full."
    )
    assert settle(warehouse, 3) == [], "it is paused once"
    come_due(owner, schedule)
    assert fire(warehouse, POLICY, schedule.schedule_id) is None

    resumed = resume_schedule(warehouse, POLICY, schedule.schedule_id, "amina")
    assert (resumed.paused_at, resumed.consecutive_failures) == (None, 0)
    assert settle(warehouse, 3) == [], "what failed before does not count any more"
    end_job(warehouse, job_of(warehouse, owner, schedule), "failed")
    assert settle(warehouse, 3) == []
    assert get_schedule(warehouse, schedule.schedule_id).consecutive_failures == 1


def test_owners_see_and_change_only_their_own(warehouse: Connection) -> None:
    mine = [make(warehouse) for _ in range(3)]
    theirs = make(warehouse, "juma", ADMIN, filters={})
    newest_first = [schedule.schedule_id for schedule in reversed(mine)]
    page = list_schedules(warehouse, "amina", 2)
    rest = list_schedules(warehouse, "amina", 2, page.next)
    assert [s.schedule_id for s in page.schedules + rest.schedules] == newest_first
    assert rest.next is None
    for schedule_id in (theirs.schedule_id, uuid4()):
        for call in (get_schedule, pause_schedule, end_schedule):
            with pytest.raises(UnknownScheduleError, match="there is no recurring export"):
                call(warehouse, schedule_id, "amina")
        with pytest.raises(UnknownScheduleError):
            resume_schedule(warehouse, POLICY, schedule_id, "amina")
    assert get_schedule(warehouse, theirs.schedule_id).paused_at is None


def test_an_owner_pauses_resumes_and_ends(warehouse: Connection, owner: Connection) -> None:
    schedule = make(warehouse)
    job = job_of(warehouse, owner, schedule)
    paused = pause_schedule(warehouse, schedule.schedule_id, "amina")
    assert paused.pause_reason == PAUSED_BY_OWNER
    again = pause_schedule(warehouse, schedule.schedule_id, reason="Maintenance.")
    assert again.pause_reason == PAUSED_BY_OWNER
    come_due(owner, schedule, 3 * DAY)
    assert fire(warehouse, POLICY, schedule.schedule_id) is None
    resumed = resume_schedule(warehouse, POLICY, schedule.schedule_id, "amina")
    assert resumed.next_due_at == DAILY.next_after(datetime.now(UTC)), "nothing is made up for"
    assert resume_schedule(warehouse, POLICY, schedule.schedule_id, "amina") == resumed

    come_due(owner, schedule)
    end_schedule(warehouse, schedule.schedule_id, "amina")
    assert fire(warehouse, POLICY, schedule.schedule_id) is None
    assert list_schedules(warehouse, "amina", 10).schedules == []
    with pytest.raises(UnknownScheduleError):
        get_schedule(warehouse, schedule.schedule_id, "amina")
    assert [each.job_id for each in list_jobs(warehouse, "amina", 10).jobs] == [job.job_id]


def test_a_recurrence_that_is_over_makes_its_last_job_and_no_more(
    warehouse: Connection, owner: Connection
) -> None:
    soon = datetime.now(UTC) + DAY
    rule = f"DTSTART:{soon:%Y%m%dT%H%M}00\nRRULE:FREQ=DAILY;COUNT=1"
    schedule = make(warehouse, recurrence=Recurrence("rrule", rule, "UTC"))
    past = rule.replace(f"{soon:%Y%m%d}", f"{soon - 3 * DAY:%Y%m%d}")
    owner.execute("UPDATE ops.export_schedules SET recurrence = %s", (past,))
    firing = fired(warehouse, owner, schedule)
    assert firing.job is not None
    assert firing.schedule.next_due_at is None
    assert fire(warehouse, POLICY, schedule.schedule_id) is None
    pause_schedule(warehouse, schedule.schedule_id)
    with pytest.raises(RequestError, match="is never due after"):
        resume_schedule(warehouse, POLICY, schedule.schedule_id)


def test_what_is_wrong_is_refused_when_it_is_made(warehouse: Connection) -> None:
    for asked, message in (
        ({"filters": {"events": [71]}}, "there is no event 71"),
        ({"filters": {"sold": {"relative": "lately"}}}, "'lately' is not known; there are"),
        ({"filters": {"events": {"relative": "yesterday"}}}, "filters.events"),
        ({"filters": []}, "must be an object"),
        ({"columns": ["shoe_size"]}, "not a column"),
        ({"format_name": "dbf"}, "is not a format"),
        ({"options": {"delimiter": "x"}}, "options.delimiter"),
        ({"recurrence": Recurrence("cron", "* * * * *", "UTC")}, "too often"),
    ):
        with pytest.raises(RequestError) as raised:
            make(warehouse, **asked)  # type: ignore[arg-type]
        assert message in str(raised.value)
    with pytest.raises(RightError, match="is not known here"):
        make(warehouse, "nobody")
    with pytest.raises(RightError, match="is now organizer 7, and the export was set up as admin"):
        make(warehouse, "amina", ADMIN, filters={})
    assert list_schedules(warehouse, "amina", 10).schedules == []


def test_an_account_has_no_more_than_it_may_also_with_calls_at_once(
    warehouse: Connection, urls: tuple[str, str, str]
) -> None:
    policy = replace(POLICY, max_schedules=2)
    barrier = threading.Barrier(4)
    refusals: list[str] = []

    def ask(_: int) -> UUID | None:
        with connect(urls[1]) as connection:
            barrier.wait()
            try:
                return make(connection, policy=policy).schedule_id
            except RequestError as error:
                refusals.append(str(error))
                return None

    with ThreadPoolExecutor(4) as pool:
        made = [key for key in pool.map(ask, range(4)) if key]
    assert len(made) == 2
    assert all("has 2 recurring exports, as many as it may" in refusal for refusal in refusals)
    end_schedule(warehouse, made[0], "amina")
    make(warehouse, policy=policy)


def test_being_seen_renews_a_right_and_does_not_give_a_revoked_one_back(
    warehouse: Connection, owner: Connection
) -> None:
    first = remember_right(warehouse, "amina", "organizer", 7)
    assert remember_right(warehouse, "amina", "organizer", 7) == first, "it was seen just now"
    owner.execute(
        "UPDATE ops.export_rights SET seen_at = seen_at - %(d)s, granted_at = granted_at - %(d)s",
        {"d": 100 * DAY},
    )
    with pytest.raises(RightError, match="last seen"):
        check_right(warehouse, "amina", "organizer", 7, STALE)
    seen = remember_right(warehouse, "amina", "organizer", 7)
    assert seen.seen_at > first.seen_at
    assert seen.granted_at == first.granted_at - 100 * DAY
    assert remember_right(warehouse, "amina", "viewer", None).role == "viewer"
    moved = remember_right(warehouse, "amina", "organizer", 8)
    assert moved.granted_at > first.granted_at

    revoked = revoke_right(warehouse, "amina", "Left.")
    assert revoke_right(warehouse, "amina", "Left in May.").revoked_at == revoked.revoked_at
    assert remember_right(warehouse, "amina", "organizer", 7).revoked_reason == "Left in May."
    with pytest.raises(RightError, match="Left in May"):
        check_right(warehouse, "amina", "organizer", 7, STALE)
    restore_right(warehouse, "amina")
    check_right(warehouse, "amina", "organizer", 7, STALE)
    for change in (
        lambda: revoke_right(warehouse, "x", "y"),
        lambda: restore_right(warehouse, "x"),
    ):
        with pytest.raises(UnknownAccountError, match="was never seen"):
            change()


def test_readers_see_their_own_right_and_write_nothing(
    warehouse: Connection, urls: tuple[str, str, str]
) -> None:
    with connect(urls[2]) as reader:
        assert reader.execute("SELECT account FROM ops.export_rights").fetchall() == []
        reader.execute("SET boxoffice.requester = 'amina'")
        seen = reader.execute("SELECT account FROM ops.export_rights").fetchall()
        assert seen == [{"account": "amina"}]
        for statement in (
            b"INSERT INTO ops.export_rights (account, role) VALUES ('x', 'admin')",
            b"UPDATE ops.export_rights SET role = 'admin', organizer_id = NULL",
            b"UPDATE ops.export_schedules SET paused_at = NULL",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                reader.execute(statement)
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        warehouse.execute("DELETE FROM ops.export_rights")


def test_a_tick_settles_fires_a_bounded_number_and_shows_nothing_personal(
    warehouse: Connection, owner: Connection, urls: tuple[str, str, str]
) -> None:
    secret = "Wanjiru 0712"
    made = [make(warehouse, filters={"search": secret}) for _ in range(3)]
    lost = make(warehouse, "juma", ADMIN, filters={"search": secret})
    for _ in range(2):
        end_job(warehouse, job_of(warehouse, owner, made[0]), "failed")
    revoke_right(warehouse, "juma", secret)
    for schedule, ago in zip([lost, *made], (4, 3, 2, 1), strict=True):
        come_due(owner, schedule, timedelta(minutes=ago))
    stricter = replace(POLICY, max_failures=2)
    messages = [tick(urls[1], stricter, per_tick=2), tick(urls[1], stricter, per_tick=2)]
    assert messages == [
        (
            "made 1 job; paused, because request or right do not hold any more:"
            f" {lost.schedule_id}; paused, because their jobs failed: {made[0].schedule_id};"
            " others that may be due come in the next tick"
        ),
        "made 1 job",
    ]
    assert not any(part in message for message in messages for part in (secret, "juma", "amina"))


def test_one_that_cannot_be_evaluated_holds_up_no_other_and_is_told_without_values(
    warehouse: Connection, owner: Connection, urls: tuple[str, str, str]
) -> None:
    broken = make(warehouse, filters={"search": "Wanjiru"})
    other = make(warehouse)
    come_due(owner, broken, 2 * HOUR)
    come_due(owner, other)
    owner.execute(
        f"""CREATE FUNCTION ops.refuse() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN RAISE 'out of order' USING DETAIL = NEW.filters::text; END $$;
        CREATE TRIGGER refuse BEFORE INSERT ON ops.export_jobs FOR EACH ROW
        WHEN (NEW.schedule_id = '{broken.schedule_id}') EXECUTE FUNCTION ops.refuse()""".encode()
    )
    try:
        with pytest.raises(EvaluationError) as raised:
            tick(urls[1])
    finally:
        owner.execute("DROP FUNCTION ops.refuse CASCADE")
    told = str(raised.value)
    assert f"made 1 job; could not be evaluated: {broken.schedule_id}: RaiseException" in told
    assert "Wanjiru" not in told
    assert raised.value.__cause__ is raised.value.__context__ is None
    assert [job.schedule_id for job in list_jobs(warehouse, "amina", 10).jobs] == [
        other.schedule_id
    ]
    assert get_schedule(warehouse, broken.schedule_id).last_due_at is None
    assert tick(urls[1]) == "made 1 job", "it is tried again"
