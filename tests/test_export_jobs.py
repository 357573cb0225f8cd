"""Export jobs: one end for each, whoever calls what and when; nobody alters who saw what."""

from __future__ import annotations

import random
import re
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from warehouse.access_log import Access, append_access, newest_access, verify_access_log
from warehouse.export_jobs import (
    CancelRequestedError,
    ExportRequest,
    FileGoneError,
    FinishedFile,
    IdempotencyConflictError,
    Lease,
    LeaseLostError,
    RowCountError,
    confirm_cancel,
    create_job,
    fail,
    find_shareable,
    finish,
    finish_shared,
    get_job,
    get_jobs,
    history,
    list_jobs,
    renew_lease,
    request_cancel,
    start,
)
from warehouse.export_queue import (
    Queued,
    expire,
    files_to_delete,
    next_queued,
    reap,
    record_deleted,
    request_run,
)
from warehouse.export_states import TRANSITIONS, Job, State, UnknownJobError
from warehouse.publish import connect

Connection = psycopg.Connection[dict[str, Any]]

REQUEST = ExportRequest(
    requester="amina",
    role="organizer",
    organizer_id=7,
    dataset="attendees",
    filters={"event_ids": [1, 2], "search": "O'Neil \u200f"},
    columns=["name", "ticket_type"],
    format="csv",
    options={"delimiter": ";"},
)
LEASE = timedelta(seconds=60)
KEEP = timedelta(days=7)
TERMINAL = {State.SUCCEEDED, State.FAILED, State.CANCELLED}


@pytest.fixture
def warehouse(urls: tuple[str, str, str], owner: Connection) -> Iterator[Connection]:
    """A connection as publisher to a warehouse without jobs."""
    owner.execute("TRUNCATE ops.export_jobs, ops.export_job_events, ops.access_log CASCADE")
    with connect(urls[1]) as connection:
        yield connection


def pass_time(owner: Connection, hours: int = 1) -> None:
    """Move every instant that something waits for into the past."""
    owner.execute(
        """UPDATE ops.export_jobs SET
            lease_until = lease_until - %(h)s, requested_at = requested_at - %(h)s,
            run_after = run_after - %(h)s, expires_at = expires_at - %(h)s""",
        {"h": timedelta(hours=hours)},
    )


def queue(connection: Connection, requester: str = "amina", **changes: Any) -> Job:
    request = replace(REQUEST, requester=requester, **changes)
    return create_job(connection, request, uuid4().hex)[0]


def begin(connection: Connection, job: Job, run_id: str = "run-1") -> Lease:
    return start(connection, job.job_id, job.attempt + 1, run_id, LEASE)[1]


def file(lease: Lease, rows: int = 3, data_version: str = "v1") -> FinishedFile:
    return FinishedFile(
        key=f"{lease.job_id}/{lease.attempt}.csv",
        size=rows * 10,
        rows=rows,
        manifest={"sha256": "0" * 64},
        data_version=data_version,
    )


def reaped(connection: Connection, max_attempts: int = 2) -> list[Job]:
    return reap(
        connection,
        max_attempts=max_attempts,
        retry_after=timedelta(minutes=1),
        begin_within=timedelta(minutes=30),
    )


def names(connection: Connection, job: Job) -> list[str]:
    return [event.transition.value for event in history(connection, job.job_id)]


def test_a_job_goes_from_the_request_to_a_file_that_is_deleted(
    warehouse: Connection, owner: Connection
) -> None:
    job = queue(warehouse)
    assert (job.state, job.attempt, job.filters) == (State.QUEUED, 0, REQUEST.filters)
    queued = next_queued(warehouse, 10)
    assert queued == [Queued(job.job_id, "amina", 1)]
    assert request_run(warehouse, queued[0])
    assert not request_run(warehouse, queued[0]), "its run is requested already"
    assert next_queued(warehouse, 10) == []

    running, lease = start(warehouse, job.job_id, 1, "run-1", LEASE)
    assert (running.state, running.attempt, running.leased_by) == (State.RUNNING, 1, "run-1")
    renew_lease(warehouse, lease, LEASE, rows_total=3)
    renewed = renew_lease(warehouse, lease, 2 * LEASE, rows_written=2)
    assert (renewed.rows_total, renewed.rows_written) == (3, 2)
    assert running.lease_until is not None
    assert renewed.lease_until is not None
    assert renewed.lease_until > running.lease_until

    done = finish(warehouse, lease, file(lease), KEEP)
    assert (done.state, done.rows_written, done.bytes) == (State.SUCCEEDED, 3, 30)
    assert done.finished_at is not None
    assert done.expires_at == done.finished_at + KEEP
    assert expire(warehouse) == []

    pass_time(owner, hours=24 * 8)
    assert [gone.job_id for gone in expire(warehouse)] == [job.job_id]
    key = file(lease).key
    assert files_to_delete(warehouse) == [key]
    assert [gone.file_key for gone in record_deleted(warehouse, key)] == [None]
    assert files_to_delete(warehouse) == []
    assert get_job(warehouse, job.job_id).manifest == {"sha256": "0" * 64}
    assert names(warehouse, job) == [
        *("create", "request_run", "start", "finish", "expire", "delete_file")
    ]


def test_fifty_identical_calls_at_once_make_one_job(
    warehouse: Connection, urls: tuple[str, str, str]
) -> None:
    barrier = threading.Barrier(50)

    def ask(_: int) -> tuple[UUID, bool]:
        with connect(urls[1]) as connection:
            barrier.wait()
            job, made = create_job(connection, REQUEST, "key")
            return job.job_id, made

    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(ask, range(50)))
    assert len({job_id for job_id, _ in answers}) == 1
    assert sum(made for _, made in answers) == 1
    assert names(warehouse, get_job(warehouse, answers[0][0])) == ["create"]


@pytest.mark.parametrize(
    "change",
    [
        {"filters": {}},
        {"columns": ["ticket_type", "name"]},
        {"format": "xlsx"},
        {"options": {}},
        {"organizer_id": 8},
        {"role": "admin", "organizer_id": None},
    ],
)
def test_an_idempotency_key_stands_for_one_request_of_one_requester(
    warehouse: Connection, change: dict[str, Any]
) -> None:
    job, _ = create_job(warehouse, REQUEST, "key")
    shuffled = replace(REQUEST, filters=dict(reversed(REQUEST.filters.items())))
    assert create_job(warehouse, shuffled, "key") == (job, False)
    with pytest.raises(IdempotencyConflictError, match=str(job.job_id)):
        create_job(warehouse, replace(REQUEST, **change), "key")
    assert create_job(warehouse, replace(REQUEST, requester="other"), "key")[1]


def test_requesters_take_turns_and_who_has_jobs_under_way_waits(warehouse: Connection) -> None:
    many = [queue(warehouse, "amina") for _ in range(4)]
    few = [queue(warehouse, "baraka") for _ in range(2)]
    one = queue(warehouse, "chebet")
    fair = [many[0], few[0], one, many[1], few[1], many[2], many[3]]
    assert [q.job_id for q in next_queued(warehouse, 10)] == [job.job_id for job in fair]
    assert [q.job_id for q in next_queued(warehouse, 2)] == [job.job_id for job in fair[:2]]

    begin(warehouse, many[0])
    request_run(warehouse, Queued(many[1].job_id, "amina", 1))
    fair = [few[0], one, few[1], many[2], many[3]]
    assert [q.job_id for q in next_queued(warehouse, 10)] == [job.job_id for job in fair]


def test_a_run_that_is_gone_loses_the_job_to_the_next_attempt(
    warehouse: Connection, owner: Connection
) -> None:
    job = queue(warehouse)
    old = begin(warehouse, job)
    renew_lease(warehouse, old, LEASE, rows_total=9, rows_written=4)
    assert reaped(warehouse) == []
    pass_time(owner)
    (again,) = reaped(warehouse)
    assert (again.state, again.attempt, again.rows_written) == (State.QUEUED, 1, 0)
    assert next_queued(warehouse, 10) == [], "the next attempt waits a little"
    pass_time(owner)
    assert next_queued(warehouse, 10) == [Queued(job.job_id, "amina", 2)]

    with pytest.raises(LeaseLostError, match=r"attempt 1 of export .* may not begin"):
        start(warehouse, job.job_id, 1, "run-1", LEASE)
    new = begin(warehouse, again, "run-2")
    for call in (
        lambda: renew_lease(warehouse, old, LEASE),
        lambda: finish(warehouse, old, file(old), KEEP),
        lambda: fail(warehouse, old, "broken"),
        lambda: confirm_cancel(warehouse, old),
    ):
        with pytest.raises(LeaseLostError, match="running in run run-2, attempt 2"):
            call()
    assert finish(warehouse, new, file(new), KEEP).file_key == file(new).key


def test_a_job_fails_with_a_reason_after_its_last_attempt(
    warehouse: Connection, owner: Connection
) -> None:
    job = queue(warehouse)
    for run_id in ("run-1", "run-2"):
        begin(warehouse, get_job(warehouse, job.job_id), run_id)
        pass_time(owner)
        reaped(warehouse)
    failed = get_job(warehouse, job.job_id)
    assert failed.state is State.FAILED
    assert failed.error == (
        "The export did not finish in 2 attempts. Ask for it again, with fewer rows if it is"
        " large. For the operator: run run-2 stopped while it worked on attempt 2; its log says"
        " what ended it."
    )
    assert names(warehouse, job) == ["create", "start", "retry", "start", "fail"]


def test_a_requested_run_that_never_begins_is_requested_anew_under_another_key(
    warehouse: Connection, owner: Connection
) -> None:
    job = queue(warehouse)
    request_run(warehouse, Queued(job.job_id, "amina", 1))
    pass_time(owner)
    assert [j.attempt for j in reaped(warehouse)] == [1]
    pass_time(owner)
    queued = next_queued(warehouse, 10)
    assert queued == [Queued(job.job_id, "amina", 2)]
    request_run(warehouse, queued[0])
    pass_time(owner)
    (failed,) = reaped(warehouse)
    assert failed.state is State.FAILED
    assert failed.error is not None
    assert "the run of attempt 2 was requested and never began" in failed.error


def test_a_failure_that_may_pass_is_tried_again_up_to_a_number(warehouse: Connection) -> None:
    job = queue(warehouse)
    soon = timedelta(0)
    lease = begin(warehouse, job)
    again = fail(warehouse, lease, "no answer", retry_after=soon, max_attempts=2)
    assert again.state is State.QUEUED
    lease = begin(warehouse, again)
    failed = fail(warehouse, lease, "no answer", retry_after=soon, max_attempts=2)
    assert (failed.state, failed.error) == (State.FAILED, "no answer")
    details = [event.detail for event in history(warehouse, job.job_id)]
    assert details == [None, None, "no answer", None, "no answer"]


def test_a_queued_job_is_cancelled_at_once(warehouse: Connection) -> None:
    job = queue(warehouse)
    request_run(warehouse, Queued(job.job_id, "amina", 1))
    with pytest.raises(UnknownJobError):
        request_cancel(warehouse, job.job_id, "baraka")
    assert request_cancel(warehouse, job.job_id, "amina").state is State.CANCELLED
    assert request_cancel(warehouse, job.job_id, "amina").state is State.CANCELLED
    with pytest.raises(LeaseLostError, match="cancelled"):
        begin(warehouse, job)
    assert names(warehouse, job) == ["create", "request_run", "cancel"]


@pytest.mark.parametrize("stop", ["confirm", "fail", "killed"])
def test_a_running_job_that_is_cancelled_never_succeeds(
    warehouse: Connection, owner: Connection, stop: str
) -> None:
    job = queue(warehouse)
    lease = begin(warehouse, job)
    with pytest.raises(LeaseLostError, match="was not cancelled"):
        confirm_cancel(warehouse, lease)
    told = request_cancel(warehouse, job.job_id, "amina")
    assert told.state is State.RUNNING
    assert told.cancel_requested_at is not None
    with pytest.raises(CancelRequestedError):
        renew_lease(warehouse, lease, LEASE)
    with pytest.raises(CancelRequestedError):
        finish(warehouse, lease, file(lease), KEEP)
    if stop == "confirm":
        confirm_cancel(warehouse, lease)
    elif stop == "fail":
        fail(warehouse, lease, "stopped", retry_after=timedelta(0), max_attempts=9)
    else:
        pass_time(owner)
        reaped(warehouse, max_attempts=9)
    assert get_job(warehouse, job.job_id).state is State.CANCELLED
    assert names(warehouse, job)[-2:] == ["request_cancel", "cancel"]


def test_cancelling_while_finishing_ends_in_one_state(
    warehouse: Connection, urls: tuple[str, str, str]
) -> None:
    ends: set[State] = set()
    with ExitStack() as stack:
        both = [stack.enter_context(connect(urls[1])) for _ in range(2)]
        pool = stack.enter_context(ThreadPoolExecutor(2))
        for _ in range(30):
            job = queue(warehouse)
            lease = begin(warehouse, job)
            barrier = threading.Barrier(2)

            def work(lease: Lease = lease, barrier: threading.Barrier = barrier) -> bool:
                barrier.wait()
                try:
                    finish(both[0], lease, file(lease), KEEP)
                except CancelRequestedError:
                    confirm_cancel(both[0], lease)
                    return False
                return True

            def cancel(job: Job = job, barrier: threading.Barrier = barrier) -> Job:
                barrier.wait()
                return request_cancel(both[1], job.job_id, "amina")

            succeeded, told = (f.result() for f in [pool.submit(work), pool.submit(cancel)])
            ended = get_job(warehouse, job.job_id)
            assert ended.state is (State.SUCCEEDED if succeeded else State.CANCELLED)
            assert isinstance(told, Job)
            assert (told.state is State.SUCCEEDED) == succeeded, "whoever cancels knows the end"
            assert (ended.file_key is not None) == succeeded
            events = history(warehouse, job.job_id)
            assert sum(event.to_state in TERMINAL for event in events) == 1
            ends.add(ended.state)
    assert ends <= {State.SUCCEEDED, State.CANCELLED}


def test_a_file_must_have_the_rows_that_were_counted(warehouse: Connection) -> None:
    lease = begin(warehouse, queue(warehouse))
    renew_lease(warehouse, lease, LEASE, rows_total=4)
    with pytest.raises(RowCountError, match="4 rows were counted, the file has 3"):
        finish(warehouse, lease, file(lease, rows=3), KEEP)
    assert finish(warehouse, lease, file(lease, rows=4), KEEP).state is State.SUCCEEDED


def test_the_same_request_on_the_same_data_shares_a_file_until_nobody_needs_it(
    warehouse: Connection, owner: Connection
) -> None:
    first = queue(warehouse, "amina")
    lease = begin(warehouse, first)
    made = finish(warehouse, lease, file(lease), KEEP)
    hour = timedelta(hours=1)
    for other in (
        queue(warehouse, organizer_id=8),
        queue(warehouse, role="admin", organizer_id=None),
        queue(warehouse, format="json"),
    ):
        assert find_shareable(warehouse, other, "v1", hour) is None
    job = queue(warehouse, "baraka")
    assert find_shareable(warehouse, job, "v2", hour) is None
    assert find_shareable(warehouse, job, "v1", 2 * KEEP) is None
    assert find_shareable(warehouse, job, "v1", hour) == made

    lease = begin(warehouse, job)
    shared = finish_shared(warehouse, lease, made, 2 * KEEP)
    assert (shared.file_key, shared.rows_total) == (made.file_key, 3)
    assert shared.shared_from == made.job_id
    pass_time(owner, hours=24 * 8)
    assert [job.job_id for job in expire(warehouse)] == [made.job_id]
    assert files_to_delete(warehouse) == [], "baraka's export still uses it"

    late = queue(warehouse, "chebet")
    lease = begin(warehouse, late)
    with pytest.raises(FileGoneError):
        finish_shared(warehouse, lease, made, KEEP)
    pass_time(owner, hours=24 * 8)
    expire(warehouse)
    assert files_to_delete(warehouse) == [made.file_key]
    assert made.file_key is not None
    assert len(record_deleted(warehouse, made.file_key)) == 2
    assert finish(warehouse, lease, file(lease), KEEP).state is State.SUCCEEDED


def test_sharing_while_expiring_never_leaves_a_job_without_its_file(
    warehouse: Connection, owner: Connection, urls: tuple[str, str, str]
) -> None:
    with ExitStack() as stack:
        both = [stack.enter_context(connect(urls[1])) for _ in range(2)]
        pool = stack.enter_context(ThreadPoolExecutor(2))
        for number in range(20):
            filters = {"event_ids": [number]}
            lease = begin(warehouse, queue(warehouse, filters=filters))
            made = finish(warehouse, lease, file(lease), timedelta(hours=1))
            pass_time(owner, hours=2)
            sharing = begin(warehouse, queue(warehouse, "baraka", filters=filters))
            barrier = threading.Barrier(2)

            def share(
                lease: Lease = sharing, made: Job = made, barrier: threading.Barrier = barrier
            ) -> bool:
                barrier.wait()
                try:
                    finish_shared(both[0], lease, made, KEEP)
                except FileGoneError:
                    return False
                return True

            def sweep(barrier: threading.Barrier = barrier) -> list[str]:
                barrier.wait()
                expire(both[1])
                return files_to_delete(both[1])

            shared, deleted = pool.submit(share), pool.submit(sweep)
            assert shared.result() != (made.file_key in deleted.result())
            ended = get_job(warehouse, sharing.job_id)
            assert (ended.file_key == made.file_key) == shared.result()


def test_a_masked_file_is_not_shared_with_one_who_may_see_it_clear() -> None:
    masked = replace(REQUEST, role="super_admin", organizer_id=None)
    clear = replace(masked, reason="Refund dispute 81")
    assert masked.content_hash != clear.content_hash
    assert clear.content_hash == replace(clear, reason="Audit").content_hash
    assert clear.request_hash != replace(clear, reason="Audit").request_hash


def test_pages_have_every_own_job_once_while_new_ones_arrive(warehouse: Connection) -> None:
    jobs = [queue(warehouse) for _ in range(5)]
    foreign = queue(warehouse, "baraka")
    with pytest.raises(UnknownJobError):
        get_job(warehouse, foreign.job_id, "amina")
    seen: list[UUID] = []
    after = None
    while True:
        page = list_jobs(warehouse, "amina", 2, after)
        seen += [job.job_id for job in page.jobs]
        queue(warehouse)
        if (after := page.next) is None:
            break
    assert seen == [job.job_id for job in reversed(jobs)]


@pytest.mark.parametrize(
    "impossible",
    [
        "state = 'succeeded', finished_at = now(), expires_at = now(), started_at = now()",
        "state = 'running', attempt = 1, started_at = now()",
        "state = 'failed', finished_at = now()",
        "state = 'cancelled', finished_at = now()",
        "state = 'done'",
        "lease_until = now(), leased_by = 'run'",
        "file_key = 'file'",
        "cancel_requested_at = now()",
        "finished_at = now()",
        "rows_written = 1",
        "error = 'broken'",
        "role = 'admin'",
        "organizer_id = NULL",
        "reason = 'curious'",
    ],
)
def test_impossible_rows_are_refused(warehouse: Connection, impossible: str) -> None:
    queue(warehouse)
    with pytest.raises(psycopg.errors.CheckViolation):
        warehouse.execute(f"UPDATE ops.export_jobs SET {impossible}".encode())


class Everybody:
    """Two workers that forget nothing, a requester, the sensors and the clock, in any order."""

    def __init__(self, publisher: Connection, owner: Connection, seed: int) -> None:
        self.publisher, self.owner = publisher, owner
        self.random = random.Random(seed)
        self.job_ids = [queue(publisher, name).job_id for name in ("amina", "baraka")]
        self.leases: list[list[Lease]] = [[], []]
        self.made: set[str] = set()

    def step(self) -> None:
        moves = {
            self.request: 2,
            self.start: 1,
            self.start_next: 4,
            self.work_newest: 4,
            self.work_any: 4,
            self.cancel: 1,
            self.reap: 2,
            self.expire: 2,
            self.delete: 1,
        }
        (move,) = self.random.choices(list(moves), list(moves.values()))
        move()
        jobs = get_jobs(self.publisher, self.job_ids)
        for job in jobs.values():
            assert job.attempt <= 3
            assert (job.finished_at is not None) == (job.state in (*TERMINAL, State.EXPIRED))
        assert {job.file_key for job in jobs.values() if job.file_key} == self.made

    def request(self) -> None:
        for queued in next_queued(self.publisher, 1):
            assert request_run(self.publisher, queued)

    def start(self) -> None:
        self.start_attempt(self.random.choice(self.job_ids), self.random.randint(1, 4))

    def start_next(self) -> None:
        job_id = self.random.choice(self.job_ids)
        self.start_attempt(job_id, get_job(self.publisher, job_id).attempt + 1)

    def start_attempt(self, job_id: UUID, attempt: int) -> None:
        before = get_job(self.publisher, job_id)
        worker = self.random.randrange(2)
        due = before.state is State.QUEUED and attempt == before.attempt + 1
        try:
            _, lease = start(self.publisher, job_id, attempt, f"run-{worker}", LEASE)
        except LeaseLostError:
            assert not due
        else:
            assert due
            self.leases[worker].append(lease)

    def work_newest(self) -> None:
        leases = self.random.choice(self.leases)
        if leases:
            self.work(leases[-1])

    def work_any(self) -> None:
        leases = self.random.choice(self.leases)
        if leases:
            self.work(self.random.choice(leases))

    def work(self, lease: Lease) -> None:
        job = get_job(self.publisher, lease.job_id)
        now = (job.state, job.attempt, job.leased_by)
        holds = now == (State.RUNNING, lease.attempt, lease.run_id)
        told = job.cancel_requested_at is not None
        call = self.random.choice(["renew", "renew", "finish", "fail", "confirm"])
        try:
            if call == "renew":
                written = self.random.randint(0, 3)
                renew_lease(self.publisher, lease, LEASE, rows_total=3, rows_written=written)
            elif call == "finish":
                finish(self.publisher, lease, file(lease), KEEP)
                self.made.add(file(lease).key)
            elif call == "fail":
                soon = self.random.choice([None, timedelta(0)])
                fail(self.publisher, lease, "broken", retry_after=soon, max_attempts=3)
            else:
                confirm_cancel(self.publisher, lease)
        except CancelRequestedError:
            assert holds
            assert told
            assert call in ("renew", "finish")
        except LeaseLostError:
            assert not holds or (call == "confirm" and not told)
        else:
            assert holds
            assert told or call != "confirm"
            assert not told or call in ("fail", "confirm")
            ended = get_job(self.publisher, lease.job_id).state
            assert not told or ended is State.CANCELLED

    def cancel(self) -> None:
        before = get_job(self.publisher, self.random.choice(self.job_ids))
        after = request_cancel(self.publisher, before.job_id)
        assert before.finished_at or after.cancel_requested_at

    def reap(self) -> None:
        hours = self.random.randrange(2)
        pass_time(self.owner, hours)
        jobs = reaped(self.publisher, max_attempts=3)
        assert hours or not jobs, "nobody was silent for longer than allowed"

    def expire(self) -> None:
        assert expire(self.publisher) == []
        pass_time(self.owner)
        reaped(self.publisher, max_attempts=3)
        pass_time(self.owner, 24 * 8)
        expire(self.publisher)

    def delete(self) -> None:
        for key in files_to_delete(self.publisher):
            record_deleted(self.publisher, key)
            self.made.remove(key)

    def assert_every_history_is_one_that_the_table_allows(self) -> Counter[tuple[str, str]]:
        """Histories are only appended to: the last one tells of every step."""
        happened: Counter[tuple[str, str]] = Counter()
        for job_id in self.job_ids:
            job = get_job(self.publisher, job_id)
            at, attempt, ends = None, 0, []
            for event in history(self.publisher, job_id):
                happened[event.transition.value, event.from_state or ""] += 1
                allowed = TRANSITIONS[event.transition]
                assert event.from_state == at
                assert at in allowed.sources if at else not allowed.sources
                assert event.to_state == allowed.target
                assert attempt <= event.attempt <= attempt + 1
                at, attempt = event.to_state, event.attempt
                if at in TERMINAL:
                    ends.append(at)
            assert (at, attempt) == (job.state, job.attempt)
            assert len(ends) == (job.finished_at is not None)
        return happened


def test_no_order_of_calls_leads_to_an_impossible_state(
    warehouse: Connection, owner: Connection
) -> None:
    happened: Counter[tuple[str, str]] = Counter()
    for seed in range(60):
        owner.execute("TRUNCATE ops.export_jobs, ops.export_job_events CASCADE")
        everybody = Everybody(warehouse, owner, seed)
        for number in range(25):
            try:
                everybody.step()
            except Exception as error:
                error.add_note(f"seed {seed}, step {number}")
                raise
        happened += everybody.assert_every_history_is_one_that_the_table_allows()
    possible = {(t.value, s) for t, rule in TRANSITIONS.items() for s in rule.sources or {""}}
    assert happened.keys() == possible, "every transition was seen, from every state"


ACCESS = Access(
    actor="root",
    role="super_admin",
    organizer_id=None,
    action="export",
    job_id=UUID(int=1),
    dataset="attendees",
    filters={"event_ids": [1]},
    clear_columns=["email", "phone"],
    reason="Refund dispute 81",
    row_count=3,
)


def test_an_export_of_clear_data_is_recorded_when_it_succeeds_and_only_then(
    warehouse: Connection,
) -> None:
    request = replace(REQUEST, role="super_admin", organizer_id=None, reason=ACCESS.reason)
    job, _ = create_job(warehouse, request, "key")
    lease = begin(warehouse, job)
    access = replace(ACCESS, job_id=job.job_id)
    renew_lease(warehouse, lease, LEASE, rows_total=9)
    with pytest.raises(RowCountError):
        finish(warehouse, lease, file(lease), KEEP, access)
    unwritable = replace(access, row_count=-1)
    with pytest.raises(psycopg.errors.CheckViolation):
        finish(warehouse, lease, file(lease, rows=9), KEEP, unwritable)
    assert newest_access(warehouse) is None
    assert get_job(warehouse, job.job_id).state is State.RUNNING, "no file without its entry"
    finish(warehouse, lease, file(lease, rows=9), KEEP, access)
    found = warehouse.execute("SELECT entry, job_id, reason FROM ops.access_log").fetchall()
    assert found == [{"entry": 1, "job_id": job.job_id, "reason": ACCESS.reason}]


def test_entries_written_at_once_form_one_chain(
    warehouse: Connection, urls: tuple[str, str, str]
) -> None:
    def write(worker: int) -> None:
        with connect(urls[1]) as connection:
            connection.execute("SET TimeZone = 'Africa/Nairobi'")
            for row_count in range(10):
                append_access(connection, replace(ACCESS, actor=f"a{worker}", row_count=row_count))

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(write, range(6)))
    newest = newest_access(warehouse)
    assert newest is not None
    assert newest.entry == 60
    assert verify_access_log(warehouse, newest) == []


@pytest.mark.parametrize(
    ("tampering", "finding"),
    [
        ("UPDATE ops.access_log SET reason = 'none' WHERE entry = 2", "entry 2 was altered"),
        ("UPDATE ops.access_log SET at = at + interval '1 us' WHERE entry = 2", "entry 2 was alt"),
        ("UPDATE ops.access_log SET reason = NULL WHERE entry = 4", "entry 4 was altered"),
        ("DELETE FROM ops.access_log WHERE entry IN (2, 3)", "entries 2 to 3 are missing"),
        ("DELETE FROM ops.access_log WHERE entry = 1", "entries 1 to 1 are missing"),
        (
            """WITH new AS (UPDATE ops.access_log SET actor = 'eve' WHERE entry = 2 RETURNING *)
            SELECT * FROM new;
            UPDATE ops.access_log AS l SET hash = ops.access_hash(l) WHERE entry = 2""",
            "entry 3 does not follow entry 2",
        ),
        (
            """DELETE FROM ops.access_log WHERE entry = 2;
            UPDATE ops.access_log SET entry = entry - 1 WHERE entry > 2""",
            "entry 2 does not follow entry 1",
        ),
        ("DELETE FROM ops.access_log WHERE entry = 4", "entry 4, which is known"),
        (
            """UPDATE ops.access_log SET actor = 'eve' WHERE entry = 4;
            UPDATE ops.access_log AS l SET hash = ops.access_hash(l) WHERE entry = 4""",
            "entry 4 has another hash than when it was written",
        ),
    ],
)
def test_entries_that_were_altered_or_removed_are_found(
    warehouse: Connection, owner: Connection, tampering: str, finding: str
) -> None:
    for row_count in range(4):
        append_access(warehouse, replace(ACCESS, row_count=row_count))
    newest = newest_access(warehouse)
    assert verify_access_log(warehouse, newest) == []
    owner.execute(tampering.encode())
    found = verify_access_log(warehouse, newest)
    assert any(re.match(re.escape(finding), sentence) for sentence in found), found


def test_only_the_log_s_function_writes_it_and_history_stays(
    warehouse: Connection, urls: tuple[str, str, str]
) -> None:
    queue(warehouse)
    append_access(warehouse, ACCESS)
    refused = {
        urls[1]: [
            "INSERT INTO ops.access_log SELECT * FROM ops.access_log",
            "UPDATE ops.access_log SET actor = 'eve'",
            "DELETE FROM ops.access_log",
            "UPDATE ops.export_job_events SET detail = ''",
            "DELETE FROM ops.export_job_events",
            "DELETE FROM ops.export_jobs",
        ],
        urls[2]: [
            "SELECT * FROM ops.access_log",
            "SELECT ops.append_access('', '', 1, '', NULL, '', '{}', '[]', '', 1)",
            "UPDATE ops.export_jobs SET requester = 'eve'",
        ],
    }
    for url, statements in refused.items():
        for statement in statements:
            with (
                connect(url) as connection,
                pytest.raises(psycopg.errors.InsufficientPrivilege),
            ):
                connection.execute(statement.encode())


def test_readers_see_the_jobs_of_the_account_they_name_and_no_others(
    warehouse: Connection, urls: tuple[str, str, str]
) -> None:
    own, foreign = queue(warehouse, "amina"), queue(warehouse, "baraka")
    with connect(urls[2]) as reader:
        assert reader.execute("SELECT * FROM ops.export_jobs").fetchall() == []
        with reader.transaction():
            reader.execute("SELECT set_config('boxoffice.requester', 'amina', true)")
            assert list_jobs(reader, "amina", 10).jobs == [own]
            assert list_jobs(reader, "baraka", 10).jobs == []
            assert len(history(reader, own.job_id)) == 1
            assert history(reader, foreign.job_id) == []
        assert reader.execute("SELECT * FROM ops.export_jobs").fetchall() == []
