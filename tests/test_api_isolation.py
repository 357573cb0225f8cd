"""Attacks on who sees what: keys of tokens that change or are away, and Postgres deciding alone."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from typing import Any

import jwt
import psycopg
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

from api import key_set
from api.principal import Principal
from api.problems import Problem
from api.tokens import Tokens
from pipelines.settings import Settings
from tests.api_client import MINE, SECRET, claims


@pytest.fixture(scope="module")
def settings(sample_settings: Settings) -> Settings:
    return sample_settings


# --- Keys of tokens -----------------------------------------------------------------------------


class Issuer:
    """An identity provider that can rotate its keys, hang, and be away."""

    def __init__(self) -> None:
        self.keys: dict[str, ec.EllipticCurvePrivateKey] = {}
        self.asked = 0
        self.is_away = False
        self.may_answer = threading.Event()
        self.may_answer.set()
        self.is_asked = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.asked += 1
                outer.is_asked.set()
                outer.may_answer.wait(10)
                self.send_response(500 if outer.is_away else 200)
                self.end_headers()
                keys = [
                    json.loads(ECAlgorithm.to_jwk(key.public_key())) | {"kid": kid}
                    for kid, key in outer.keys.items()
                ]
                self.wfile.write(json.dumps({"keys": keys}).encode())

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/jwks"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.add("old")

    def add(self, kid: str) -> None:
        self.keys[kid] = ec.generate_private_key(ec.SECP256R1())

    def token(self, kid: str = "old", **changes: Any) -> bytes:
        key = self.keys.get(kid) or next(iter(self.keys.values()))
        token = jwt.encode(claims(**changes), key, "ES256", headers={"kid": kid})
        return f"Bearer {token}".encode()


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    made = Issuer()
    yield made
    made.may_answer.set()
    made.server.shutdown()
    made.server.server_close()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Return a function that lets time pass for the keys."""
    passed = 0.0
    real = time.monotonic

    def let_pass(seconds: float) -> None:
        nonlocal passed
        passed += seconds

    monkeypatch.setattr("api.key_set.time", SimpleNamespace(monotonic=lambda: real() + passed))
    return let_pass


def public(settings: Settings, issuer: Issuer) -> Tokens:
    return Tokens(settings.model_copy(update={"api_jwks_url": issuer.url}))


def outcome(tokens: Tokens, header: bytes) -> int:
    """200, or the status of the refusal."""
    try:
        assert isinstance(asyncio.run(tokens.verify(header)), Principal)
    except Problem as problem:
        return problem.kind.status
    return 200


def test_a_new_key_is_found_and_one_that_was_taken_away_is_refused(
    settings: Settings, issuer: Issuer, clock: Callable[[float], None]
) -> None:
    tokens = public(settings, issuer)
    old = issuer.token("old")
    assert outcome(tokens, old) == 200
    issuer.add("new")
    new = issuer.token("new")
    assert outcome(tokens, new) == 401, "asked for a moment ago"
    clock(key_set.MIN_INTERVAL_SECONDS)
    assert outcome(tokens, new) == 200
    del issuer.keys["old"]
    assert outcome(tokens, old) == 200
    clock(key_set.FRESH_SECONDS)
    assert (outcome(tokens, new), outcome(tokens, old)) == (200, 401)
    assert issuer.asked == 3
    forged = issuer.token("new")
    issuer.keys.clear()
    clock(key_set.FRESH_SECONDS)
    assert outcome(tokens, forged) == 401, "no key at all is an answer, too"


def test_known_keys_outlive_an_outage_for_an_hour_whoever_asks_for_unknown_ones(
    settings: Settings, issuer: Issuer, clock: Callable[[float], None]
) -> None:
    tokens = public(settings, issuer)
    good, bad = issuer.token("old"), issuer.token("made up")
    assert outcome(tokens, good) == 200
    issuer.is_away = True
    for seconds in (key_set.MIN_INTERVAL_SECONDS, key_set.FRESH_SECONDS, 600, 600):
        clock(seconds)
        assert (outcome(tokens, bad), outcome(tokens, good)) == (503, 200)
        assert (outcome(tokens, good), outcome(tokens, bad)) == (200, 503)
    assert issuer.asked == 5, "once, and then once each time it was due"
    clock(key_set.USABLE_SECONDS)
    assert outcome(tokens, good) == 503
    issuer.is_away = False
    clock(key_set.MIN_INTERVAL_SECONDS)
    assert (outcome(tokens, good), outcome(tokens, bad)) == (200, 401)


def test_nobody_with_a_known_key_waits_for_a_slow_answer_about_an_unknown_one(
    settings: Settings, issuer: Issuer, clock: Callable[[float], None]
) -> None:
    tokens = public(settings, issuer)

    async def ask() -> None:
        await tokens.verify(issuer.token("old"))
        clock(key_set.MIN_INTERVAL_SECONDS)
        issuer.may_answer.clear()
        issuer.is_asked.clear()
        slow = asyncio.create_task(tokens.verify(issuer.token("made up")))
        await asyncio.to_thread(issuer.is_asked.wait, 10)
        await asyncio.wait_for(tokens.verify(issuer.token("old", sub="somebody else")), 1)
        assert not slow.done()
        issuer.may_answer.set()
        with pytest.raises(Problem):
            await slow

    asyncio.run(ask())


@pytest.mark.parametrize("account", [" ", "   ", "\u007f", "a\tb"])
def test_an_account_that_no_record_could_name_is_refused(settings: Settings, account: str) -> None:
    token = jwt.encode(claims(sub=account), SECRET, "HS256")
    assert outcome(Tokens(settings), f"Bearer {token}".encode()) == 401


def test_an_account_may_have_blanks_in_it(settings: Settings) -> None:
    token = jwt.encode(claims(sub=" Jane of Nairobi "), SECRET, "HS256")
    assert outcome(Tokens(settings), f"Bearer {token}".encode()) == 200


@pytest.mark.parametrize(
    "head", ["[" * 5000, '{"a":' * 1000, '{"alg": ["HS256"]}', '{"alg": "HS256", "kid": [1]}', "5"]
)
def test_a_header_of_any_shape_is_refused_not_failed_at(settings: Settings, head: str) -> None:
    token = jwt.utils.base64url_encode(head.encode()).decode() + ".e30.x"
    assert outcome(Tokens(settings), f"Bearer {token}".encode()) == 401


# --- Postgres alone -----------------------------------------------------------------------------

ROWS = b"SELECT count(*) FROM reporting.daily_metrics"


@pytest.fixture
def reader(settings: Settings) -> Iterator[psycopg.Connection[Any]]:
    """The login of the read API, as an attacker who can run any statement has it."""
    assert settings.warehouse_reader_url is not None
    url = settings.warehouse_reader_url.get_secret_value()
    with psycopg.connect(url, autocommit=True) as connection:
        yield connection


@pytest.mark.parametrize("value", ["", "0", "-1", "9223372036854775807"])
def test_a_scope_that_is_nobodys_shows_nothing(reader: psycopg.Connection[Any], value: str) -> None:
    reader.execute("SET ROLE boxoffice_organizer_reader")
    reader.execute("SELECT set_config('boxoffice.organizer_id', %s, false)", (value,))
    assert reader.execute(ROWS).fetchone() == (0,)


@pytest.mark.parametrize("value", ["*", "12 OR true", "12, 13", "NULL", "9223372036854775808"])
def test_a_scope_that_is_no_number_is_an_error_not_everything(
    reader: psycopg.Connection[Any], value: str
) -> None:
    reader.execute("SET ROLE boxoffice_organizer_reader")
    reader.execute("SELECT set_config('boxoffice.organizer_id', %s, false)", (value,))
    with pytest.raises(psycopg.errors.DataError):
        reader.execute(ROWS)


def test_the_scope_of_a_transaction_is_gone_after_it(reader: psycopg.Connection[Any]) -> None:
    reader.execute("SET ROLE boxoffice_organizer_reader")
    with reader.transaction():
        reader.execute("SELECT set_config('boxoffice.organizer_id', %s, true)", (str(MINE),))
        (mine,) = reader.execute(ROWS).fetchone() or (0,)
    assert mine > 0
    assert reader.execute(ROWS).fetchone() == (0,)


@pytest.mark.parametrize("role", ["none", "boxoffice_organizer_reader", "boxoffice_admin_reader"])
@pytest.mark.parametrize(
    "statement",
    [
        "SET ROLE boxoffice_publisher",
        "SET ROLE boxoffice_owner",
        "SET ROLE boxoffice_adhoc",
        "SET SESSION AUTHORIZATION boxoffice_owner",
        "ALTER TABLE reporting.daily_metrics DISABLE ROW LEVEL SECURITY",
        "CREATE POLICY mine ON reporting.daily_metrics USING (true)",
        "GRANT boxoffice_admin_reader TO boxoffice_organizer_reader",
        "SELECT * FROM ops.access_log",
        "SELECT * FROM ops.adhoc_queries",
        "SELECT ops.append_access('a', 'admin', 1, 'x', NULL, 'x', '{}', '[]', NULL, 0)",
        "INSERT INTO ops.export_rights (account, role) VALUES ('a', 'admin')",
        "DELETE FROM reporting.event_summary",
        "CREATE TABLE reporting.t (a int)",
        "CREATE TABLE public.t (a int)",
        "CREATE FUNCTION reporting.f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "COPY reporting.event_summary TO PROGRAM 'cat'",
        "SELECT pg_read_file('/etc/passwd')",
        "SELECT rolpassword FROM pg_authid",
    ],
)
def test_the_login_of_the_api_gets_no_further_than_its_scopes(
    reader: psycopg.Connection[Any], role: str, statement: str
) -> None:
    reader.execute(f"SET ROLE {role}".encode())
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        reader.execute(statement.encode())


def test_row_security_cannot_be_turned_off(reader: psycopg.Connection[Any]) -> None:
    reader.execute("SET ROLE boxoffice_organizer_reader")
    reader.execute("SET row_security = off")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        reader.execute(ROWS)


def test_nobodys_exports_are_seen_without_their_account(
    settings: Settings, reader: psycopg.Connection[Any]
) -> None:
    with psycopg.connect(settings.warehouse_url.get_secret_value()) as publisher:
        publisher.execute(
            """INSERT INTO ops.export_rights (account, role, organizer_id)
            VALUES ('jane@example.org', 'organizer', %s)""",
            (MINE,),
        )
    for role in ("none", "boxoffice_organizer_reader", "boxoffice_admin_reader"):
        reader.execute(f"SET ROLE {role}".encode())
        for account, seen in (("", 0), ("%", 0), ("jane@example.org", 1)):
            reader.execute("SELECT set_config('boxoffice.requester', %s, false)", (account,))
            found = reader.execute("SELECT count(*) FROM ops.export_rights").fetchone()
            assert found == (seen,), (role, account)
