"""``boxoffice source check`` names exactly what is wrong with a source, and nothing else."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import date
from pathlib import Path

import psycopg
import pytest
from typer.testing import CliRunner

import resources.source
from metrics.calendar import DayRange
from pipelines.cli import app
from pipelines.settings import Settings
from resources import contract_docs
from resources.source import check_contract, compare, statement
from resources.source_check import check_plans, check_role
from resources.source_contract import FACTS

TICKETING = Path(__file__).parent.parent / "local" / "ticketing"
READER = "boxoffice_source_reader"
DAY = DayRange("Africa/Nairobi", date(2025, 3, 1), date(2025, 3, 1))


@pytest.fixture
def owner_url(fresh_database: Callable[..., str]) -> str:
    """An empty platform that the reader may read."""
    url = fresh_database("ticketing", connects=[READER])
    with psycopg.connect(url) as connection:
        connection.execute((TICKETING / "schema.sql").read_bytes())
        connection.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {READER}".encode())
    return url


@pytest.fixture
def problems(owner_url: str, role_url: Callable[[str, str], str]) -> Callable[..., list[str]]:
    """Return a function that changes the platform and returns what the check says then."""

    def check(*statements: str) -> list[str]:
        with psycopg.connect(owner_url) as connection:
            for text in statements:
                connection.execute(text.encode())
        return [str(problem) for problem in check_contract(role_url(owner_url, READER), DAY)]

    return check


def test_the_sample_platform_keeps_the_contract(problems: Callable[..., list[str]]) -> None:
    assert problems() == []


def test_a_renamed_column_is_named_with_its_file_and_line(
    problems: Callable[..., list[str]],
) -> None:
    assert problems("ALTER TABLE checkouts RENAME COLUMN converted_at TO done_at") == [
        (
            "checkouts: resources/source_sql/checkouts.sql line 1 fails: column "
            '"converted_at" does not exist; select the column you have, AS its canonical name'
        )
    ]


def test_a_column_the_statement_does_not_return_is_named(
    problems: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def edited(fact: str) -> str:
        text = statement(fact)
        return text.replace("scanned_at,", "scanned_at AS scanned,")

    monkeypatch.setattr(resources.source, "statement", edited)
    assert problems() == [
        (
            "check_ins.scanned_at: is missing: resources/source_sql/check_ins.sql does not "
            "return it (it returns scanned, unknown to the contract); select it AS scanned_at, "
            "of type timestamptz"
        )
    ]


def test_numeric_money_with_decimals_is_refused_with_its_conversion(
    problems: Callable[..., list[str]],
) -> None:
    """Declared decimals say major units, which would be a hundredth of the amount."""
    (problem,) = problems("ALTER TABLE payments ALTER COLUMN amount_minor TYPE numeric(12,2)")
    assert problem.startswith(
        "payments.amount_minor: is numeric(12,2), expected bigint; "
        "in resources/source_sql/payments.sql"
    )
    assert "amount_minor * 100" in problem


def test_whole_numeric_money_is_accepted(problems: Callable[..., list[str]]) -> None:
    assert (
        problems(
            "ALTER TABLE payments ALTER COLUMN amount_minor TYPE numeric",
            "ALTER TABLE refunds ALTER COLUMN amount_minor TYPE numeric(18,0)",
        )
        == []
    )


def test_a_timestamp_without_time_zone_is_refused_with_its_conversion(
    problems: Callable[..., list[str]],
) -> None:
    (problem,) = problems("ALTER TABLE check_ins ALTER COLUMN scanned_at TYPE timestamp")
    assert problem.startswith(
        "check_ins.scanned_at: is timestamp without time zone, expected timestamptz; "
        "in resources/source_sql/check_ins.sql name the zone it is written in: "
        "scanned_at AT TIME ZONE 'UTC'"
    )


def test_an_enum_is_refused_and_a_varchar_is_text(problems: Callable[..., list[str]]) -> None:
    assert problems(
        "CREATE TYPE rail AS ENUM ('MPESA', 'CARD')",
        "ALTER TABLE payments DROP CONSTRAINT payments_provider_check",
        "ALTER TABLE payments ALTER COLUMN provider TYPE rail USING provider::rail",
        "ALTER TABLE payments ALTER COLUMN instrument TYPE varchar(20)",
    ) == [
        (
            "payments.provider: is enum rail, expected text; in resources/source_sql/payments.sql "
            "cast it: provider::text"
        )
    ]


def test_a_uuid_key_points_to_the_surrogate(problems: Callable[..., list[str]]) -> None:
    (problem,) = problems(
        "ALTER TABLE checkouts DROP CONSTRAINT checkouts_pkey",
        "ALTER TABLE checkouts ALTER COLUMN checkout_id TYPE uuid USING gen_random_uuid()",
    )
    assert "checkouts.checkout_id: is uuid, expected bigint" in problem
    assert "docs/adopting.md" in problem


def test_a_missing_table_is_named(problems: Callable[..., list[str]]) -> None:
    assert problems("DROP TABLE page_views") == [
        (
            f"page_views: resources/{folder}/page_views.sql line {line} fails: "
            'relation "page_views" does not exist; select from a table that exists, with its schema'
        )
        for folder, line in (("source_sql", 2), ("reconciliation_sql", 6))
    ]


def test_a_missing_right_is_named_with_its_grant(problems: Callable[..., list[str]]) -> None:
    assert problems(f"REVOKE SELECT ON organizers FROM {READER}") == [
        (
            "organizers: resources/source_sql/organizers.sql fails: permission denied for table "
            f'organizers; run GRANT SELECT ON organizers TO "{READER}" as its owner'
        )
    ]


def test_the_right_types_of_every_fact_have_no_problem_and_a_wrong_one_has_one() -> None:
    for fact in FACTS.values():
        right = {column.name: str(column.type) for column in fact.columns}
        assert compare(fact, right) == []
        for column in fact.columns:
            (found,) = compare(fact, right | {column.name: "json"})
            assert (found.fact, found.column) == (fact.name, column.name)
            assert f"expected {column.type}" in found.message


def test_a_role_that_can_write_is_warned_about(
    owner_url: str, role_url: Callable[[str, str], str]
) -> None:
    with psycopg.connect(role_url(owner_url, READER)) as reader:
        assert check_role(reader) == []
    with psycopg.connect(owner_url) as owner:
        owner.execute(f"GRANT INSERT ON organizers TO {READER}".encode())
    with psycopg.connect(role_url(owner_url, READER)) as reader:
        (warning,) = check_role(reader)
    assert warning.message.startswith(f'role "{READER}" can write public.organizers;')


def test_reading_a_large_table_for_one_day_names_the_index_to_create(
    owner_url: str, role_url: Callable[[str, str], str]
) -> None:
    reader_url = role_url(owner_url, READER)
    with psycopg.connect(owner_url, autocommit=True) as owner:
        owner.execute("ALTER TABLE checkouts DROP CONSTRAINT checkouts_event_id_fkey")
        owner.execute(
            "INSERT INTO checkouts (checkout_id, event_id, channel, started_at, updated_at)"
            " SELECT n, 1, 'web', '2025-01-01Z'::timestamptz + n * interval '1 minute', now()"
            " FROM generate_series(1, 110000) n"
        )
        owner.execute("ANALYZE checkouts")
        with psycopg.connect(reader_url) as reader:
            warnings = check_plans(reader, DAY)
        for warning, folder in zip(warnings, ("source_sql", "reconciliation_sql"), strict=True):
            assert warning.fact == "checkouts"
            assert f"resources/{folder}/checkouts.sql reads all of" in warning.message
            assert "public.checkouts (about 110,000 rows)" in warning.message
            assert warning.message.endswith("; CREATE INDEX ON public.checkouts (started_at)")
        owner.execute("CREATE INDEX ON public.checkouts (started_at)")
        with psycopg.connect(reader_url) as reader:
            assert check_plans(reader, DAY) == []


def test_the_command_fails_only_when_the_contract_is_broken(
    owner_url: str,
    role_url: Callable[[str, str], str],
    make_settings: Callable[..., Settings],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = make_settings(source_url=role_url(owner_url, READER))
    monkeypatch.setattr("pipelines.settings.get_settings", lambda: settings)
    good = CliRunner().invoke(app, ["source", "check"])
    assert good.exit_code == 0, good.output
    assert [line.split()[0] for line in good.output.splitlines()[: len(FACTS)]] == list(FACTS)
    with psycopg.connect(owner_url) as owner:
        owner.execute("ALTER TABLE orders ALTER COLUMN tax_minor TYPE integer")
    broken = CliRunner().invoke(app, ["source", "check"])
    assert broken.exit_code == 1
    assert "orders.tax_minor: is integer, expected bigint" in broken.output
    assert "breaks the contract: 1 problem" in broken.output


def test_the_page_on_adopting_states_the_contract() -> None:
    page = contract_docs.PAGE.read_text(encoding="utf-8")
    assert contract_docs.page_with(contract_docs.render(), page) == page, (
        "run python -m resources.contract_docs"
    )
    for fact in FACTS.values():
        section = page.split(f"#### `{fact.name}`\n")[1].split("\n#### ")[0]
        for column in fact.columns:
            assert f"| `{column.name}` | {column.type} |" in section


def test_the_surrogate_of_a_uuid_key_in_the_page_is_a_stable_bigint(owner_url: str) -> None:
    page = contract_docs.PAGE.read_text(encoding="utf-8")
    (line,) = [line for line in page.splitlines() if line.startswith("SELECT ('x'")]
    key = "01890a5d-ac96-774b-bcce-b302099a8057"
    digest = hashlib.md5(key.encode(), usedforsecurity=False).digest()
    with psycopg.connect(owner_url) as connection:
        query = line.replace("id::text", f"'{key}'").replace("FROM orders", "")
        found = connection.execute(query.encode()).fetchall()
    assert found == [(int.from_bytes(digest[:8], signed=True),)]
