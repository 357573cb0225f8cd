"""Ad-hoc SQL on real servers: the role only reads, limits hold, nothing is left, all recorded."""

from __future__ import annotations

import asyncio
import json
import random
import re
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import ExitStack, asynccontextmanager
from typing import Any

import psycopg
import pytest
from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from api.adhoc import allowed
from api.adhoc.asking import ask
from api.adhoc.gate import RefusedError, check
from api.adhoc.relations import relations
from api.adhoc.runner import (
    AdhocError,
    Connect,
    Limits,
    Rows,
    StatementFailedError,
    StatementTimedOutError,
    UnfitConnectionError,
    run,
)
from exports.masking import Role
from local.provision import _ADHOC_ROLE_SQL
from tests.conftest import Servers
from tests.test_sql_gate import ALLOWED, FIXTURE, MORE_ALLOWED, REFUSED, VECTORS
from warehouse.migrate import upgrade

HEAVY = (
    "SELECT count(*) FROM reporting.daily_metrics a, reporting.daily_metrics b, reporting.events c"
)
LIMITS = Limits(statement_seconds=5)


@pytest.fixture(scope="module")
def scratch(servers: Servers, fresh_database: Callable[..., str]) -> str:
    """The fixture's database; the role's rights are those of migration and provisioning."""
    url = fresh_database("boxoffice_owner", connects=["boxoffice_adhoc"])
    superuser = servers.postgres.url(url.rsplit("/", 1)[1])
    with psycopg.connect(superuser, autocommit=True) as connection:
        connection.execute((VECTORS / "sql_fixture.sql").read_bytes())
        connection.execute(_ADHOC_ROLE_SQL.read_bytes())
        connection.execute(
            """GRANT USAGE ON SCHEMA reporting TO boxoffice_adhoc;
            GRANT SELECT ON ALL TABLES IN SCHEMA reporting TO boxoffice_adhoc;
            REVOKE ALL ON SCHEMA public FROM PUBLIC"""
        )
    return superuser


@pytest.fixture(scope="module")
def adhoc_url(scratch: str, role_url: Callable[[str, str], str]) -> str:
    return role_url(scratch, "boxoffice_adhoc")


@pytest.fixture
def superuser(scratch: str) -> Iterator[psycopg.Connection[tuple[Any, ...]]]:
    with psycopg.connect(scratch, autocommit=True) as connection:
        yield connection


def connecting(url: str) -> Connect:
    @asynccontextmanager
    async def connect() -> AsyncIterator[AsyncConnection[Any]]:
        async with await AsyncConnection.connect(url) as connection:
            yield connection

    return connect


def answer(url: str, sql: str, limits: Limits = LIMITS, **options: Any) -> Rows:
    return asyncio.run(run(connecting(url), check(sql, FIXTURE), limits, **options))


def effects(superuser: psycopg.Connection[tuple[Any, ...]]) -> list[Any]:
    """All a statement could have changed: rows, objects, rights, settings, locks, sessions."""
    tables = superuser.execute(
        """SELECT schemaname, tablename FROM pg_tables
        WHERE schemaname IN ('reporting', 'private', 'app', 'public') ORDER BY 1, 2"""
    ).fetchall()
    found: list[Any] = [
        superuser.execute(
            f"SELECT count(*), md5(string_agg(t::text, chr(10) ORDER BY t::text))"
            f' FROM "{schema}"."{table}" AS t'.encode()
        ).fetchall()
        for schema, table in tables
    ]
    found.append(tables)
    queries = (
        "SELECT oid, relname, relacl::text, reloptions FROM pg_class ORDER BY 1",
        "SELECT oid, proname, proacl::text FROM pg_proc ORDER BY 1",
        "SELECT oid, nspname, nspacl::text FROM pg_namespace WHERE nspname !~ '^pg_t' ORDER BY 1",
        "SELECT oid, * FROM pg_authid ORDER BY oid",
        "SELECT * FROM pg_auth_members ORDER BY 1",
        "SELECT * FROM pg_db_role_setting ORDER BY 1, 2",
        "SELECT * FROM pg_largeobject_metadata",
        "SELECT * FROM pg_prepared_xacts",
        "SELECT * FROM reporting.report_seq",
        "SELECT slot_name FROM pg_replication_slots",
        """SELECT locktype, mode FROM pg_locks AS l JOIN pg_database AS d ON d.oid = l.database
        WHERE datname = current_database() AND pid <> pg_backend_pid()""",
        """SELECT usename FROM pg_stat_activity
        WHERE datname = current_database() AND pid <> pg_backend_pid()""",
    )
    return found + [superuser.execute(query.encode()).fetchall() for query in queries]


def wait_for_no_session(superuser: psycopg.Connection[tuple[Any, ...]]) -> None:
    deadline = time.monotonic() + 10
    while superuser.execute(
        """SELECT FROM pg_stat_activity
        WHERE datname = current_database() AND usename = 'boxoffice_adhoc'"""
    ).fetchall():
        assert time.monotonic() < deadline, "a session of the role is still there"
        time.sleep(0.02)


# The role alone -------------------------------------------------------------------------------


@pytest.mark.parametrize("session", ["as it is", "made read-write by itself"])
def test_the_role_alone_changes_nothing_whatever_it_is_given(
    session: str, adhoc_url: str, superuser: psycopg.Connection[tuple[Any, ...]]
) -> None:
    writes = [
        "SELECT lo_create(0)",
        "SELECT lo_from_bytea(0, 'x')",
        "CREATE TEMP TABLE t (a int)",
        "CREATE TABLE reporting.t (a int)",
        "CREATE TABLE public.t (a int)",
        "CREATE SCHEMA s",
        "CREATE FUNCTION pg_temp.f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "SELECT setval('reporting.report_seq', 5)",
        "TRUNCATE reporting.events",
        "UPDATE reporting.events SET name = ''",
        "LOCK TABLE reporting.events IN EXCLUSIVE MODE",
        "SELECT public.purge_by_row(e) FROM reporting.events e",
        "SELECT e.purge_by_row FROM reporting.events e",
        "SET ROLE postgres",
        "SET SESSION AUTHORIZATION postgres",
        "SET temp_file_limit = -1",
        "ALTER ROLE boxoffice_owner PASSWORD 'x'",
        "ALTER SYSTEM SET work_mem = '1GB'",
        "VACUUM reporting.events",
        "COPY reporting.events FROM STDIN",
    ]
    before = effects(superuser)
    refused = 0
    for sql in [*(sql for _, sql in REFUSED), *writes]:
        with psycopg.connect(adhoc_url, autocommit=True) as connection:
            # Several statements in one text need the simple protocol.
            connection.execute("SET statement_timeout = 40")
            if session != "as it is":
                connection.execute("SET default_transaction_read_only = off")
            result = connection.pgconn.exec_(sql.encode())
            refused += result.status == psycopg.pq.ExecStatus.FATAL_ERROR
            connection.pgconn.finish()
    wait_for_no_session(superuser)
    assert effects(superuser) == before
    assert refused > 70


def test_the_role_reads_finished_tables_and_no_other_schema(adhoc_url: str) -> None:
    with psycopg.connect(adhoc_url, autocommit=True) as connection:
        assert connection.execute("SELECT count(*) FROM reporting.events").fetchone() == (40,)
        for table in ("private.attendees", "app.users", "public.attendees", "pg_authid"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(f"SELECT * FROM {table}".encode())


def test_the_role_has_its_limits_from_the_start(adhoc_url: str) -> None:
    with psycopg.connect(adhoc_url, autocommit=True) as connection:
        names = "default_transaction_read_only statement_timeout transaction_timeout work_mem"
        names += " temp_file_limit lock_timeout idle_in_transaction_session_timeout search_path"
        values = {
            name: connection.execute(f"SHOW {name}".encode()).fetchall()[0][0]
            for name in names.split()
        }
        assert values == {
            "default_transaction_read_only": "on",
            "statement_timeout": "30s",
            "transaction_timeout": "40s",
            "work_mem": "16MB",
            "temp_file_limit": "256MB",
            "lock_timeout": "2s",
            "idle_in_transaction_session_timeout": "10s",
            "search_path": "pg_catalog, pg_temp",
        }
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("SET temp_file_limit = -1")


def test_no_more_than_four_sessions_of_the_role_at_once(adhoc_url: str) -> None:
    with ExitStack() as stack:
        for _ in range(4):
            stack.enter_context(psycopg.connect(adhoc_url))
        with pytest.raises(psycopg.OperationalError, match="too many connections for role"):
            psycopg.connect(adhoc_url)


# The lists, compared with Postgres ------------------------------------------------------------


def test_every_listed_function_is_harmless_in_each_of_its_forms(
    superuser: psycopg.Connection[tuple[Any, ...]],
) -> None:
    forms = superuser.execute(
        """SELECT proname, provolatile, prosecdef, oidvectortypes(proargtypes)
        FROM pg_proc WHERE pronamespace = 'pg_catalog'::regnamespace AND proname = ANY (%s)""",
        (sorted(allowed.FUNCTIONS),),
    ).fetchall()
    assert {name for name, *_ in forms} == allowed.FUNCTIONS - {"coalesce"}
    assert not [form for form in forms if form[1] == "v" or form[2]]
    reaching = {"regclass", "regproc", "regprocedure", "refcursor", "internal", "cstring"}
    assert not [form for form in forms if reaching & set(form[3].split(", "))]


def test_every_listed_type_operator_and_collation_is_in_the_catalog(
    superuser: psycopg.Connection[tuple[Any, ...]],
) -> None:
    for names, query in (
        (allowed.TYPES, "SELECT typname FROM pg_type WHERE typnamespace = 11"),
        (allowed.OPERATORS - {"!="}, "SELECT oprname FROM pg_operator WHERE oprnamespace = 11"),
        (allowed.COLLATIONS, "SELECT collname FROM pg_collation WHERE collnamespace = 11"),
    ):
        known = {row[0] for row in superuser.execute(query.encode()).fetchall()}
        assert names <= known


def test_functions_that_a_row_could_be_given_to_as_its_column_are_harmless(
    superuser: psycopg.Connection[tuple[Any, ...]],
) -> None:
    """What row.name could still call, should a name of the statement be that of a function."""
    reachable = superuser.execute(
        """SELECT DISTINCT proname FROM pg_proc
        WHERE pronamespace = 'pg_catalog'::regnamespace AND provolatile = 'v'
          AND proname !~ '^pg_' -- no name of a statement may begin like that
          AND pronargs - pronargdefaults <= 1 AND pronargs >= 1 AND prorettype <> 'trigger'::regtype
          AND proargtypes[0] = ANY (ARRAY['record', '"any"', 'anyelement', 'anynonarray',
              'anycompatible', 'anycompatiblenonarray']::regtype[])"""
    ).fetchall()
    assert reachable == []


# Running --------------------------------------------------------------------------------------


def test_the_tables_of_the_vectors_are_those_of_the_fixture(
    superuser: psycopg.Connection[tuple[Any, ...]],
) -> None:
    columns = superuser.execute(
        """SELECT table_name, array_agg(column_name::text) FROM information_schema.columns
        WHERE table_schema = 'reporting' AND table_name <> 'report_seq' GROUP BY 1"""
    ).fetchall()
    assert {name: frozenset(names) for name, names in columns} == FIXTURE


def test_what_passes_runs_and_gives_what_postgres_gives(
    adhoc_url: str, superuser: psycopg.Connection[tuple[Any, ...]]
) -> None:
    before = effects(superuser)

    async def all_of_them() -> None:
        async with AsyncConnectionPool(adhoc_url, min_size=1, max_size=1, open=False) as pool:
            for sql in [*ALLOWED, *MORE_ALLOWED]:
                found = await run(pool.connection, check(sql, FIXTURE), LIMITS)
                assert found.truncated is None, sql
                json.dumps(found.rows, allow_nan=False)
                directly = superuser.execute(sql.rstrip("; ").encode())
                assert [c.name for c in found.columns] == [
                    c.name for c in directly.description or ()
                ]
                assert len(found.rows) == directly.rowcount, sql

    asyncio.run(all_of_them())
    wait_for_no_session(superuser)
    assert effects(superuser) == before


def test_changed_statements_that_pass_change_nothing_and_leave_a_usable_connection(
    adhoc_url: str, superuser: psycopg.Connection[tuple[Any, ...]]
) -> None:
    before = effects(superuser)
    chance = random.Random(20_260_101)
    ran = 0

    async def some_of_them() -> None:
        nonlocal ran
        async with AsyncConnectionPool(adhoc_url, min_size=1, max_size=1, open=False) as pool:
            for _ in range(800):
                words = re.findall(r"\w+|\s+|\S", chance.choice([*ALLOWED, *MORE_ALLOWED]))
                other = re.findall(r"\w+|\s+|\S", chance.choice(ALLOWED))
                at, of = chance.randrange(len(words)), chance.randrange(len(other))
                words[at : at + chance.randrange(3)] = other[of : of + chance.randrange(4)]
                try:
                    checked = check("".join(words), FIXTURE)
                    ran += 1
                    await run(pool.connection, checked, Limits(statement_seconds=0.5, rows=5))
                except (RefusedError, AdhocError):
                    continue

    asyncio.run(some_of_them())
    assert ran > 100
    wait_for_no_session(superuser)
    assert effects(superuser) == before


def test_order_is_kept_and_every_type_is_given_as_json_has_it(adhoc_url: str) -> None:
    ordered = answer(adhoc_url, "SELECT event_id AS answer FROM reporting.events ORDER BY 1 DESC")
    assert [row[0] for row in ordered.rows] == list(range(40, 0, -1))
    found = answer(
        adhoc_url,
        """SELECT 9007199254740993, 1.10, 'NaN'::numeric, 'NaN'::float8, 0.1::float8, true, NULL,
            'é🎫', '2026-01-31'::date, '2026-01-31 12:00'::timestamp,
            '2026-01-31 12:00:00.5+00'::timestamptz, 'infinity'::timestamptz,
            '0044-03-15 BC'::date, interval '1 day 2 hours', '12:30'::time,
            '{"a": 1.50, "b": [null]}'::jsonb, ARRAY[1.5, NULL],
            ARRAY['2026-01-31 12:00'::timestamp],
            daterange('2026-01-01', '2026-02-01'), '%s %', ROW(1, 'x'),
            'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::uuid""",
        time_zone="Africa/Nairobi",
    )
    assert json.loads(json.dumps(found.rows, allow_nan=False)) == [
        [9007199254740993, "1.10", "NaN", "NaN", 0.1, True, None, "é🎫", "2026-01-31",
         "2026-01-31T12:00:00", "2026-01-31T15:00:00.5+03:00", "infinity", "0044-03-15 BC",
         "P1DT2H", "12:30:00", {"a": "1.50", "b": [None]}, ["1.5", None], ["2026-01-31T12:00:00"],
         "[2026-01-01,2026-02-01)", "%s %", ["1", "x"], "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"]
    ]  # fmt: skip
    assert [c.type for c in found.columns[:5]] == ["int8", "numeric", "numeric", "float8", "float8"]
    assert found.columns[16].type == "numeric[]"


def test_an_answer_is_cut_at_the_rows_and_says_so(adhoc_url: str) -> None:
    sql = "SELECT event_id FROM reporting.events ORDER BY 1"
    cut = answer(adhoc_url, sql, Limits(rows=39))
    assert (len(cut.rows), cut.truncated) == (39, "rows")
    whole = answer(adhoc_url, sql, Limits(rows=40))
    assert (len(whole.rows), whole.truncated) == (40, None)


def test_an_answer_is_cut_at_the_bytes_and_a_long_row_never_leaves_postgres(adhoc_url: str) -> None:
    sql = "SELECT repeat('x', 100) FROM reporting.daily_metrics"
    cut = answer(adhoc_url, sql, Limits(bytes=1_000))
    assert (cut.truncated, len(cut.rows)) == ("bytes", cut.byte_count // 102)
    assert 800 < cut.byte_count <= 1_000
    huge = answer(adhoc_url, "SELECT repeat('x', 10000000), 1 AS answer", Limits(bytes=1_000_000))
    assert (huge.rows, huge.truncated, len(huge.columns)) == ([], "bytes", 2)


def test_what_takes_too_long_is_ended_by_postgres(
    adhoc_url: str, superuser: psycopg.Connection[tuple[Any, ...]]
) -> None:
    for sql in (
        HEAVY,
        "WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n FROM r) SELECT count(*) FROM r",
        "SELECT regexp_count(repeat('ab', 5000000), 'a.')",
        "SELECT factorial(30000)",
        "SELECT sum(factorial(n)) FROM generate_series(5000, 9000) n",
    ):
        started = time.monotonic()
        with pytest.raises(StatementTimedOutError, match=r"longer than 0\.3 s"):
            answer(adhoc_url, sql, Limits(statement_seconds=0.3))
        assert time.monotonic() - started < 3
    wait_for_no_session(superuser)


def test_a_table_that_is_being_changed_is_not_waited_for_long(adhoc_url: str, scratch: str) -> None:
    with psycopg.connect(scratch) as migrating:
        migrating.execute("LOCK TABLE reporting.events IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(StatementTimedOutError, match="being changed"):
            answer(adhoc_url, "SELECT * FROM reporting.events", Limits(lock_seconds=0.1))


def test_temporary_files_are_limited(
    adhoc_url: str, superuser: psycopg.Connection[tuple[Any, ...]]
) -> None:
    superuser.execute("ALTER ROLE boxoffice_adhoc SET temp_file_limit = '10MB'")
    try:
        with pytest.raises(StatementFailedError, match="temp_file_limit") as caught:
            answer(
                adhoc_url,
                "SELECT a.n, repeat('x', 200) FROM generate_series(1, 1000000) a(n) ORDER BY 2, 1",
            )
    finally:
        superuser.execute("ALTER ROLE boxoffice_adhoc SET temp_file_limit = '256MB'")
    assert caught.value.sqlstate == "53400"


def test_an_error_tells_what_and_where_in_the_text_as_it_was_given(adhoc_url: str) -> None:
    sql = "/* é */ SELECT 'é',\n nothing FROM reporting.events"
    with pytest.raises(StatementFailedError, match='column "nothing" does not exist') as caught:
        answer(adhoc_url, sql)
    assert sql[(caught.value.position or 0) - 1 :].startswith("nothing")
    with pytest.raises(StatementFailedError, match="division by zero"):
        answer(adhoc_url, "SELECT 1 / (event_id - event_id) FROM reporting.events")


def test_nothing_is_left_in_the_connection(adhoc_url: str) -> None:
    async def use() -> None:
        async with AsyncConnectionPool(adhoc_url, min_size=1, max_size=1, open=False) as pool:
            async with pool.connection() as connection:
                pid = connection.info.backend_pid
                before = await left(connection)
            for sql, limits in (
                ("SELECT 1", LIMITS),
                ("SELECT 1 / 0", LIMITS),
                (HEAVY, Limits(statement_seconds=0.2)),
                ("SELECT * FROM reporting.daily_metrics", Limits(bytes=1_000)),
            ):
                try:
                    await run(pool.connection, check(sql, FIXTURE), limits, time_zone="Asia/Tokyo")
                except AdhocError:
                    assert sql != "SELECT 1"
                async with pool.connection() as connection:
                    assert connection.info.backend_pid == pid
                    assert not connection.autocommit
                    assert await left(connection) == before

    async def left(connection: AsyncConnection[Any]) -> list[Any]:
        found = []
        for query in (
            "SELECT name, setting FROM pg_settings ORDER BY 1",
            "SELECT name FROM pg_prepared_statements",
            "SELECT name FROM pg_cursors WHERE name <> ''",
            "SELECT mode FROM pg_locks WHERE locktype = 'advisory'",
            "SELECT pg_my_temp_schema()",
        ):
            async with connection.cursor() as cursor:
                await cursor.execute(query.encode(), prepare=False)
                found.append(await cursor.fetchall())
        return found

    asyncio.run(use())


def test_a_client_that_goes_away_takes_its_statement_along(
    adhoc_url: str, superuser: psycopg.Connection[tuple[Any, ...]]
) -> None:
    async def leave() -> None:
        task = asyncio.create_task(run(connecting(adhoc_url), check(HEAVY, FIXTURE), LIMITS))
        await until_active(superuser)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert active(superuser) == 0

    asyncio.run(leave())
    wait_for_no_session(superuser)


def active(superuser: psycopg.Connection[tuple[Any, ...]], text: str = "daily_metrics") -> int:
    return superuser.execute(
        """SELECT FROM pg_stat_activity WHERE datname = current_database() AND state = 'active'
        AND usename = 'boxoffice_adhoc' AND query LIKE %s""",
        (f"%{text}%",),
    ).rowcount


async def until_active(
    superuser: psycopg.Connection[tuple[Any, ...]], text: str = "daily_metrics"
) -> None:
    deadline = time.monotonic() + 10
    while not active(superuser, text):
        assert time.monotonic() < deadline, "the statement did not begin"
        await asyncio.sleep(0.02)


def test_a_connection_that_may_do_more_is_not_used(
    scratch: str, adhoc_url: str, superuser: psycopg.Connection[tuple[Any, ...]]
) -> None:
    with pytest.raises(UnfitConnectionError, match="administrator's rights"):
        answer(scratch, "SELECT 1")
    for undo, redo in (
        ("CONNECTION LIMIT -1", "CONNECTION LIMIT 4"),
        ("RESET temp_file_limit", "SET temp_file_limit = '256MB'"),
    ):
        superuser.execute(f"ALTER ROLE boxoffice_adhoc {undo}".encode())
        try:
            with pytest.raises(UnfitConnectionError, match="no limit"):
                answer(adhoc_url, "SELECT 1")
        finally:
            superuser.execute(f"ALTER ROLE boxoffice_adhoc {redo}".encode())
    superuser.execute("GRANT USAGE ON SCHEMA app TO boxoffice_adhoc")
    try:
        with pytest.raises(UnfitConnectionError, match="app"):
            answer(adhoc_url, "SELECT 1")
    finally:
        superuser.execute("REVOKE USAGE ON SCHEMA app FROM boxoffice_adhoc")
    superuser.execute("GRANT DELETE ON reporting.events TO boxoffice_adhoc")
    try:
        with pytest.raises(UnfitConnectionError, match="events"):
            answer(adhoc_url, "SELECT 1")
    finally:
        superuser.execute("REVOKE DELETE ON reporting.events FROM boxoffice_adhoc")
    assert answer(adhoc_url, "SELECT 1").rows == [(1,)]


# The warehouse --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def warehouse(fresh_database: Callable[..., str], role_url: Callable[[str, str], str]) -> str:
    """A migrated warehouse with one row in ``daily_payments``."""
    url = fresh_database("boxoffice_owner", connects=["boxoffice_publisher", "boxoffice_adhoc"])
    upgrade(url)
    with psycopg.connect(role_url(url, "boxoffice_publisher")) as publisher:
        publisher.execute(
            """INSERT INTO reporting.daily_payments
            SELECT '2026-01-01', 1, 2, 'KES', 'MPESA', 'mpesa', 100, 1, 0, 0, 0, 100, 0"""
        )
    return url


def test_the_role_sees_all_rows_of_every_finished_table_and_nothing_else(
    warehouse: str, role_url: Callable[[str, str], str]
) -> None:
    with psycopg.connect(warehouse) as owner:
        columns = owner.execute(
            """SELECT table_name, array_agg(column_name::text) FROM information_schema.columns
            WHERE table_schema = 'reporting' GROUP BY 1"""
        ).fetchall()
    assert {name: frozenset(names) for name, names in columns} == relations(Role.SUPER_ADMIN)
    url = role_url(warehouse, "boxoffice_adhoc")
    for table in relations(Role.ADMIN):
        checked = check(f"SELECT * FROM reporting.{table}", relations(Role.ADMIN))
        found = asyncio.run(run(connecting(url), checked, LIMITS))
        assert {column.name for column in found.columns} == relations(Role.ADMIN)[table]
        assert len(found.rows) == (table == "daily_payments")
    with psycopg.connect(url, autocommit=True) as connection:
        for table in ("ops.publications", "ops.access_log", "ops.adhoc_queries"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(f"SELECT * FROM {table}".encode())


def test_everything_asked_is_recorded_before_it_runs_and_how_it_ended(
    warehouse: str, role_url: Callable[[str, str], str], servers: Servers
) -> None:
    watching = servers.postgres.url(warehouse.rsplit("/", 1)[1])
    publisher, url = (
        role_url(warehouse, "boxoffice_publisher"),
        role_url(warehouse, "boxoffice_adhoc"),
    )

    def asking(sql: str, **options: Any) -> Coroutine[Any, Any, Any]:
        values: dict[str, Any] = {
            "account": "ada", "role": Role.ADMIN, "limits": LIMITS,
            "connect": connecting(url), "publisher": connecting(publisher),
        }  # fmt: skip
        return ask(sql, **(values | options))

    async def asked() -> None:
        found = await asking("SELECT currency FROM reporting.daily_payments")
        assert (found.rows.rows, found.checked.relations) == ([("KES",)], {"daily_payments"})
        await asking("SELECT n FROM generate_series(1, 9) n", limits=Limits(rows=2))
        for sql in ("SELECT 'a@b.test' FROM pg_authid", "x\0\ud800" + "y" * 30_000):
            with pytest.raises(RefusedError):
                await asking(sql)
        with pytest.raises(StatementFailedError):
            await asking("SELECT 1 / 0")
        with pytest.raises(psycopg.OperationalError):
            await asking("SELECT 1", connect=connecting("postgresql://127.0.0.1:1/none"))
        numbers = "generate_series(1, 3000)"
        slow = f"SELECT count(*) FROM {numbers} a, {numbers} b WHERE factorial(2000 + a % b) = 0"
        task = asyncio.create_task(asking(slow))
        with psycopg.connect(watching, autocommit=True) as superuser:
            await until_active(superuser, "factorial")
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        for role in (Role.ORGANIZER, Role.VIEWER):
            with pytest.raises(ValueError, match="may not ask"):
                await asking("SELECT 1", role=role)

    asyncio.run(asked())
    with psycopg.connect(publisher) as connection:
        rows = connection.execute(
            """SELECT q.outcome, left(q.statement, 12), q.characters, e.outcome, e.reason,
                e.row_count, e.truncated
            FROM ops.adhoc_queries AS q LEFT JOIN ops.adhoc_queries AS e ON e.ends = q.entry
            WHERE q.ends IS NULL ORDER BY q.entry"""
        ).fetchall()
        assert [row[0] for row in rows] == ["allowed"] * 2 + ["refused"] * 2 + ["allowed"] * 3
        assert [row[3:] for row in rows] == [
            ("succeeded", None, 1, None),
            ("succeeded", None, 2, "rows"),
            (None, None, None, None),
            (None, None, None, None),
            ("failed", "division by zero", None, None),
            ("failed", "it could not be run: OperationalError", None, None),
            ("cancelled", "the client went away", None, None),
        ]
        assert rows[3][1:3] == ("x\\x00\\ud800y", 30_003)
        for change in (
            "UPDATE ops.adhoc_queries SET account = ''",
            "DELETE FROM ops.adhoc_queries",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege), connection.transaction():
                connection.execute(change.encode())


def test_what_cannot_be_recorded_is_not_run(
    warehouse: str, role_url: Callable[[str, str], str]
) -> None:
    used = []

    @asynccontextmanager
    async def connect() -> AsyncIterator[AsyncConnection[Any]]:
        used.append(True)
        async with await AsyncConnection.connect(role_url(warehouse, "boxoffice_adhoc")) as one:
            yield one

    with pytest.raises(psycopg.OperationalError):
        asyncio.run(
            ask(
                "SELECT 1",
                account="ada",
                role=Role.SUPER_ADMIN,
                connect=connect,
                publisher=connecting("postgresql://127.0.0.1:1/none"),
                limits=LIMITS,
            )
        )
    assert used == []
