"""Who may ask for what: tokens, the policy table, and Postgres deciding a second time."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
import psycopg
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from api.policy import POLICY, Access, permits
from api.principal import Principal
from api.problems import Problem
from api.tokens import ConfigurationError, Tokens, check_configuration, mint
from exports.masking import Role
from pipelines.settings import Settings
from tests.api_client import (
    ABSENT_EVENT,
    FOREIGN,
    FOREIGN_EVENT,
    MINE,
    MY_EVENT,
    SECRET,
    URL,
    Client,
    claims,
    with_client,
)


@pytest.fixture(scope="module")
def settings(sample_settings: Settings) -> Settings:
    return sample_settings


def verified(tokens: Tokens, token: str) -> Principal:
    return asyncio.run(tokens.verify(f"Bearer {token}".encode()))


def test_a_good_token_names_its_bearer_and_is_remembered(settings: Settings) -> None:
    tokens = Tokens(settings)
    token = jwt.encode(claims(), SECRET, "HS256")
    header = f"Bearer {token}".encode()
    assert tokens.remembered(header) is None
    found = verified(tokens, token)
    assert found == Principal("jane@example.org", Role.ORGANIZER, MINE)
    assert tokens.remembered(header) == found
    assert tokens.remembered(header + b"x") is None


@pytest.mark.parametrize(
    "changes",
    [
        {"aud": "another"},
        {"iss": "another"},
        {"exp": timedelta(seconds=-1), "iat": timedelta(seconds=-60)},
        {"exp": None},
        {"iat": None},
        {"sub": None},
        {"sub": ""},
        {"sub": "a\nb"},
        {"exp": timedelta(hours=25)},
        {"iat": timedelta(hours=1), "exp": timedelta(hours=2)},
        {"nbf": timedelta(hours=1)},
        {"token_type": None},
        {"token_type": "refresh"},
        {"role": "root"},
        {"role": None},
        {"organizer_id": None},
        {"organizer_id": "12"},
        {"organizer_id": True},
        {"organizer_id": 0},
        {"organizer_id": 12.0},
        {"role": "admin"},
    ],
    ids=str,
)
def test_a_token_with_a_wrong_claim_is_refused(settings: Settings, changes: dict[str, Any]) -> None:
    tokens, now = Tokens(settings), time.time()
    # From now when it runs: names of tests must be the same in every process that collects them.
    values = {
        name: int(now + value.total_seconds()) if isinstance(value, timedelta) else value
        for name, value in changes.items()
    }
    with pytest.raises(Problem) as refused:
        verified(tokens, jwt.encode(claims(**values), SECRET, "HS256"))
    assert refused.value.kind.status == 401


@pytest.mark.parametrize(
    ("token", "why"),
    [
        (jwt.encode(claims(), SECRET + "x", "HS256"), "another secret"),
        (jwt.encode(claims(), SECRET * 2, "HS512"), "another algorithm"),
        (jwt.encode(claims(), "", "none"), "no signature"),
        ("a.b.c", "no token"),
        ("x" * 9000, "too long"),
        (jwt.encode(claims(), SECRET, "HS256", headers={"crit": ["x"]}), "unknown extension"),
    ],
)
def test_what_is_not_signed_as_agreed_is_refused(settings: Settings, token: str, why: str) -> None:
    with pytest.raises(Problem) as refused:
        verified(Tokens(settings), token)
    assert refused.value.kind.status == 401, why


class Issuer:
    """An identity provider's JWKS endpoint."""

    def __init__(self) -> None:
        self.rsa = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.ec = ec.generate_private_key(ec.SECP256R1())
        self.keys = [
            json.loads(RSAAlgorithm.to_jwk(self.rsa.public_key()))
            | {"kid": "r", "use": "sig", "alg": "RS256"},
            json.loads(ECAlgorithm.to_jwk(self.ec.public_key())) | {"kid": "e", "use": "sig"},
        ]
        self.asked = 0
        self.is_away = False
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.asked += 1
                self.send_response(500 if outer.is_away else 200)
                self.end_headers()
                self.wfile.write(json.dumps({"keys": outer.keys}).encode())

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/jwks"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    made = Issuer()
    yield made
    made.server.shutdown()
    made.server.server_close()


def test_public_keys_verify_rs256_and_es256_and_nothing_else(
    settings: Settings, issuer: Issuer
) -> None:
    tokens = Tokens(settings.model_copy(update={"api_jwks_url": issuer.url}))
    for key, kid, algorithm in ((issuer.rsa, "r", "RS256"), (issuer.ec, "e", "ES256")):
        token = jwt.encode(claims(), key, algorithm, headers={"kid": kid})
        assert verified(tokens, token).organizer_id == MINE
    assert issuer.asked == 1
    refused = [
        jwt.encode(claims(), issuer.rsa, "RS256"),  # no kid
        jwt.encode(claims(), issuer.rsa, "RS256", headers={"kid": "e"}),
        jwt.encode(claims(), issuer.rsa, "PS256", headers={"kid": "r"}),
        jwt.encode(claims(), issuer.rsa, "RS256", headers={"kid": "unknown"}),
        jwt.encode(claims(), issuer.rsa, "RS256", headers={"kid": "unknown2"}),
    ]
    for token in refused:
        with pytest.raises(Problem) as problem:
            verified(tokens, token)
        assert problem.value.kind.status == 401
    assert issuer.asked == 1, "unknown keys make it ask at most every 30 seconds"


def test_without_public_keys_a_token_can_be_neither_accepted_nor_refused(
    settings: Settings, issuer: Issuer
) -> None:
    issuer.is_away = True
    tokens = Tokens(settings.model_copy(update={"api_jwks_url": issuer.url}))
    token = jwt.encode(claims(), issuer.rsa, "RS256", headers={"kid": "r"})
    for _ in range(3):
        with pytest.raises(Problem) as problem:
            verified(tokens, token)
        assert problem.value.kind.status == 503
        assert problem.value.headers["Retry-After"]
    assert issuer.asked == 1


def test_a_public_key_is_no_secret_for_hs256(settings: Settings, issuer: Issuer) -> None:
    only_public = settings.model_copy(update={"api_jwks_url": issuer.url, "api_token_secret": None})
    with pytest.raises(Problem) as problem:
        verified(Tokens(only_public), jwt.encode(claims(), SECRET, "HS256", headers={"kid": "r"}))
    assert problem.value.kind.status == 401
    assert issuer.asked == 0


@pytest.mark.parametrize(
    "changes",
    [
        {"environment": "production"},
        {"environment": "production", "api_token_secret": None},
        {"environment": "production", "api_token_secret": None, "api_jwks_url": "http://x/jwks"},
        {"api_token_secret": None},
        {"api_token_secret": "secret"},
        {"api_token_secret": "x" * 64},
    ],
    ids=str,
)
def test_unsafe_settings_stop_the_start(
    make_settings: Callable[..., Settings], changes: dict[str, Any]
) -> None:
    with pytest.raises(ConfigurationError, match="BOXOFFICE_API_"):
        check_configuration(make_settings(**({"api_token_secret": SECRET} | changes)))


def test_production_mints_no_tokens(make_settings: Callable[..., Settings]) -> None:
    settings = make_settings(environment="production", api_jwks_url="https://idp/jwks")
    check_configuration(settings)
    with pytest.raises(ConfigurationError, match="mints no tokens"):
        mint(settings, Principal("a@b", Role.ADMIN))


ADMIN = "/api/v1/admin"
ENDPOINTS = {
    f"{ADMIN}/freshness": Access.TRUST,
    f"{ADMIN}/restatements": Access.TRUST,
    f"{ADMIN}/reconciliation": Access.TRUST,
    f"{ADMIN}/cache/stats": Access.OPERATIONS,
    f"{ADMIN}/database/indexes": Access.OPERATIONS,
    "/api/v1/definitions": Access.ORGANIZER_ANALYTICS,
    URL: Access.ORGANIZER_ANALYTICS,
}


def test_every_endpoint_keeps_the_policy_for_every_role(settings: Settings) -> None:
    callers = [(role, None) for role in (Role.ADMIN, Role.SUPER_ADMIN, Role.VIEWER)]
    callers += [(Role.ORGANIZER, MINE), (Role.VIEWER, MINE)]

    async def ask(client: Client) -> None:
        for path, access in ENDPOINTS.items():
            assert (await client.get(path)).status_code == 401
            for role, organizer in callers:
                expected = 200 if permits(access, Principal("a", role, organizer)) else 403
                answer = await client.get(path, headers=client.as_(role, organizer))
                assert answer.status_code == expected, (path, role, organizer)
                if expected == 403:
                    assert answer.json()["type"] == "urn:boxoffice:problem:forbidden"

    with_client(settings, ask)
    assert set(POLICY) == set(Access)
    assert not permits(Access.ADMIN_ANALYTICS, Principal("a", Role.VIEWER, MINE))
    assert not permits(Access.ORGANIZER_EXPORTS, Principal("a", Role.VIEWER, MINE))


def test_an_organizer_sees_their_own_rows_and_an_admin_all(settings: Settings) -> None:
    async def totals(client: Client) -> list[int]:
        found = []
        for role, organizer in (
            (Role.ORGANIZER, MINE),
            (Role.ORGANIZER, FOREIGN),
            (Role.ADMIN, None),
        ):
            answer = await client.get(URL, headers=client.as_(role, organizer))
            found.append(answer.json()["data"][0]["totals"]["gross_revenue"]["minor"])
        return found

    assert with_client(settings, totals) == [900, 4 * 7_700, 900 + 4 * 7_700]


def test_a_foreign_event_is_as_absent_as_one_that_does_not_exist(settings: Settings) -> None:
    async def ask(client: Client) -> None:
        headers = client.as_(Role.ORGANIZER, MINE) | {"X-Request-ID": "same"}
        mine = await client.get(f"/sample/events/{MY_EVENT}", headers=headers)
        assert mine.json()["data"]["event_id"] == str(MY_EVENT)
        seen = []
        for event in (FOREIGN_EVENT, ABSENT_EVENT):
            answer = await client.get(f"/sample/events/{event}", headers=headers)
            shown = dict(answer.headers)
            shown.pop("ratelimit-remaining")
            seen.append((answer.status_code, answer.content, shown))
        assert seen[0] == seen[1]
        assert seen[0][0] == 404

    with_client(settings, ask)


def test_postgres_alone_keeps_organizers_apart(settings: Settings) -> None:
    assert settings.warehouse_reader_url is not None
    counted = b"SELECT count(*) FROM reporting.daily_metrics"
    sums = b"SELECT sum(gross_revenue) FROM reporting.daily_metrics"
    with psycopg.connect(settings.warehouse_reader_url.get_secret_value()) as reader:
        assert reader.execute(counted).fetchone() == (0,), "without a scope"
        reader.execute("SET ROLE boxoffice_organizer_reader")
        assert reader.execute(counted).fetchone() == (0,), "without an organizer"
        reader.execute(f"SELECT set_config('boxoffice.organizer_id', '{MINE}', true)".encode())
        assert reader.execute(sums).fetchone() == (900,)
        for refused in (b"SELECT control_sums FROM ops.publications", b"SELECT * FROM ops.audits"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege), reader.transaction():
                reader.execute(refused)
        reader.execute("SET ROLE boxoffice_admin_reader")
        assert reader.execute(sums).fetchone() == (900 + 4 * 7_700,)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            reader.execute("DELETE FROM reporting.daily_metrics")


def test_no_finished_table_is_without_row_security(settings: Settings) -> None:
    with psycopg.connect(settings.warehouse_owner_url.get_secret_value()) as owner:
        bare = owner.execute(
            """SELECT c.relname FROM pg_class AS c
            WHERE c.relnamespace = 'reporting'::regnamespace AND c.relkind IN ('r', 'p', 'v', 'm')
              AND (NOT c.relrowsecurity OR NOT EXISTS (
                  SELECT FROM pg_policy AS p WHERE p.polrelid = c.oid AND p.polname = 'own'))"""
        ).fetchall()
        passing = owner.execute(
            "SELECT rolname FROM pg_roles WHERE rolbypassrls AND rolname LIKE 'boxoffice%reader'"
        ).fetchall()
    assert (bare, passing) == ([], [])


def test_two_authorization_headers_are_refused(settings: Settings) -> None:
    async def ask(client: Client) -> int:
        header = client.as_()["Authorization"]
        answer = await client.get(
            URL, headers=[("Authorization", header), ("Authorization", header)]
        )
        return answer.status_code

    assert with_client(settings, ask) == 400
