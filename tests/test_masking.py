"""Nobody sees personal data that the policy does not give them, in any byte of any format."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime
from itertools import product
from typing import Any

import duckdb
import polars as pl
import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from psycopg.rows import dict_row

from exports.datasets import EXPORTS
from exports.filters import RequestError
from exports.formats.registry import FORMATS
from exports.masking import (
    MASK,
    POLICY,
    Pii,
    Requester,
    Role,
    Treatment,
    mask_sql,
    search_sql,
    treatment,
)
from exports.options import parse_options
from exports.reading import Sources, open_rows
from exports.requests import Catalogue, ExportRequest, validate
from exports.writing import extension, write_export
from local.ticketing.seed import seed
from metrics.calendar import DayRange
from resources.extraction import extract
from resources.source_contract import DAILY_FACTS
from tests.deployment import Deployment
from tests.leaks import CONTACT, UNIQUE_CONTACTS, anywhere, of_person, said, spill
from tests.test_extraction import source_of

TIME_ZONE = "Africa/Nairobi"
EVERY_KIND = {"kinds": ["admission", "add_on", "donation"]}
CLEAR = Requester(role=Role.SUPER_ADMIN, reason="a request of the data protection officer")
UNREASONED = Requester(role=Role.SUPER_ADMIN, reason="  ")
ADMIN = Requester(role=Role.ADMIN)
VIEWER = Requester(role=Role.VIEWER)


@pytest.fixture(scope="module")
def platform(make_deployment: Callable[..., Deployment]) -> Deployment:
    """A lake whose attendees have contact data that cannot occur anywhere else by chance."""
    deployment = make_deployment(start_date=date(2026, 2, 1))
    seed(
        deployment.source_owner_url,
        orders=1_000,
        until=datetime(2026, 3, 10, 12, tzinfo=UTC),
        months=1,
        seed=7,
        time_zone=TIME_ZONE,
    )
    deployment.source(UNIQUE_CONTACTS)
    days = DayRange(TIME_ZONE, date(2026, 2, 1), date(2026, 3, 10))
    extract(deployment.lake, source_of(deployment), days, DAILY_FACTS, "all")
    return deployment


@pytest.fixture(scope="module")
def sources(platform: Deployment) -> Sources:
    return Sources(
        lake=platform.lake,
        warehouse_url=platform.settings.warehouse_url.get_secret_value(),
        buyer_key_secret=platform.settings.buyer_key_secret.get_secret_value(),
        time_zone=TIME_ZONE,
    )


@pytest.fixture(scope="module")
def people(platform: Deployment) -> list[dict[str, Any]]:
    with psycopg.connect(platform.source_owner_url, row_factory=dict_row) as connection:
        return connection.execute(
            "SELECT ticket_id, attendee_name, attendee_email, attendee_phone, contact_consent,"
            " event_id, organizer_id FROM tickets JOIN events USING (event_id)"
            " WHERE NOT is_test AND (issued_at AT TIME ZONE 'Africa/Nairobi')::date"
            " BETWEEN '2026-02-01' AND '2026-03-10' ORDER BY ticket_id"
        ).fetchall()


@pytest.fixture(scope="module")
def organizer(people: list[dict[str, Any]]) -> Requester:
    """One with people who gave their consent and people who did not."""
    own: dict[int, list[bool]] = {}
    for person in people:
        own.setdefault(person["organizer_id"], []).append(person["contact_consent"])
    best = max(own, key=lambda key: min(own[key].count(True), own[key].count(False)))
    assert set(own[best]) == {True, False}
    return Requester(role=Role.ORGANIZER, organizer_id=best)


@pytest.fixture(scope="module")
def events(people: list[dict[str, Any]]) -> list[int]:
    """Some events with a few people each."""
    counts = Counter(person["event_id"] for person in people)
    found = sorted(event for event, count in counts.items() if 3 <= count <= 12)[:4]
    assert len(found) == 4
    return found


def ask(requester: Requester, columns: list[str] | None, **filters: Any) -> ExportRequest:
    named = dict.fromkeys(filters.get("events", ()), 1)
    return validate("attendees", EVERY_KIND | filters, columns, requester, Catalogue(events=named))


def read(sources: Sources, request: ExportRequest) -> pl.DataFrame:
    with open_rows(sources, request) as rows:
        return pl.concat(list(rows.batches) or [pl.DataFrame()])


def contents(sources: Sources, request: ExportRequest) -> dict[tuple[str, str], str]:
    """Everything a file of each format says, and an archive of each, unpacked."""
    texts = {}
    with open_rows(sources, request, by_event=True) as rows:
        batches = list(rows.batches)
        for name, packaging in product(FORMATS, ("one_file", "file_per_event")):
            options, target = parse_options(name, {"packaging": packaging}), io.BytesIO()
            again = replace(rows, batches=iter(batches))
            written = write_export(again, name, options, target, spill, lambda _: None)
            texts[name, packaging] = said(extension(name, options), target.getvalue())
            assert written.result.rows > 0
    return texts


@pytest.mark.parametrize("requester", [ADMIN, UNREASONED, VIEWER], ids=["admin", "super", "viewer"])
def test_nothing_of_a_masked_value_is_in_any_file(
    sources: Sources,
    people: list[dict[str, Any]],
    events: list[int],
    requester: Requester,
) -> None:
    columns = [column.name for column in EXPORTS["attendees"].columns]
    if requester is VIEWER:
        for column in CONTACT:
            with pytest.raises(RequestError, match=f"'{column}' is not a column of attendees"):
                ask(requester, ["ticket_id", column])
        columns = [name for name in columns if (("attendees", name) not in POLICY)]
    own = [person for person in people if person["event_id"] in events]
    every = set().union(*map(of_person, people))
    request = ask(requester, columns, events=events)
    assert request.disclosed == ()
    for name, text in contents(sources, request).items():
        assert str(own[0]["ticket_id"]) in text
        assert anywhere(text, every) == set(), name
        assert (MASK in text) == (requester is not VIEWER)


def test_an_organizer_gets_contact_data_of_own_attendees_who_consented(
    sources: Sources, people: list[dict[str, Any]], organizer: Requester
) -> None:
    given, every = set[str](), set().union(*map(of_person, people))
    for person in people:
        if person["organizer_id"] == organizer.organizer_id and person["contact_consent"]:
            given |= of_person(person)
    assert given
    request = ask(organizer, ["ticket_id", "event_id", *CONTACT])
    assert request.disclosed == tuple(CONTACT)
    for name, text in contents(sources, request).items():
        assert anywhere(text, every) == given, name


def test_the_search_for_leaks_finds_what_is_clear(
    sources: Sources, people: list[dict[str, Any]], events: list[int]
) -> None:
    """Otherwise the tests of masks could not fail."""
    own = [person for person in people if person["event_id"] in events]
    every = set().union(*map(of_person, own))
    assert len(every) == 5 * len(own)
    request = ask(CLEAR, ["ticket_id", *CONTACT], events=events)
    for name, text in contents(sources, request).items():
        assert anywhere(text, every) == every, name
    assert request.disclosed == tuple(CONTACT)


def test_a_search_finds_personal_data_only_where_it_is_seen_clear(
    sources: Sources, people: list[dict[str, Any]], organizer: Requester
) -> None:
    own = [p for p in people if p["organizer_id"] == organizer.organizer_id]
    consented = next(p for p in own if p["contact_consent"])
    other = next(p for p in own if not p["contact_consent"])
    foreign = next(
        p for p in people if p["contact_consent"] and p["organizer_id"] != organizer.organizer_id
    )
    cases = [
        ("attendee_email", other, ADMIN, 0),
        ("attendee_phone", other, UNREASONED, 0),
        ("attendee_name", other, VIEWER, 0),
        ("attendee_email", foreign, organizer, 0),
        ("attendee_name", other, organizer, 0),
        ("attendee_name", other, CLEAR, 1),
        ("attendee_phone", consented, organizer, 1),
    ]
    for column, person, requester, found in cases:
        request = ask(requester, ["ticket_id"], search=person[column].upper())
        with open_rows(sources, request) as rows:
            keys = [key for frame in rows.batches for key in frame["ticket_id"]]
            # The file does not repeat the search where such data is masked.
            shown = dict(rows.description.filters)["Search"]
        assert keys == [person["ticket_id"]] * found, (column, requester.role)
        assert rows.totals.rows == found
        assert (shown == person[column].upper()) == (requester is CLEAR)


def test_rows_are_in_the_same_order_for_everybody(sources: Sources) -> None:
    orders = [
        read(sources, ask(requester, ["ticket_id"]))["ticket_id"].to_list()
        for requester in (CLEAR, ADMIN, VIEWER)
    ]
    assert orders[0] == orders[1] == orders[2]
    with pytest.raises(ValueError, match="must not be sorted by attendee_name"):
        replace(EXPORTS["attendees"], order=("attendee_name",))


def test_a_pseudonym_is_the_same_for_a_person_and_another_for_each_organizer_and_key(
    platform: Deployment, sources: Sources, people: list[dict[str, Any]]
) -> None:
    platform.source(
        "UPDATE tickets SET attendee_email = CASE WHEN ticket_id % 2 = 0 THEN 'One@Example.org '"
        " ELSE 'one@example.org' END, updated_at = now()"
    )
    days = DayRange(TIME_ZONE, date(2026, 2, 1), date(2026, 3, 10))
    attendees = [fact for fact in DAILY_FACTS if fact.name == "attendees"]
    extract(platform.lake, source_of(platform), days, attendees, "again")
    columns = ["organizer_id", "attendee_key"]
    keys = read(sources, ask(ADMIN, columns)).unique().sort("organizer_id")
    assert keys.height == len({person["organizer_id"] for person in people}) > 1
    assert keys["attendee_key"].n_unique() == keys.height
    other = replace(sources, buyer_key_secret="x" * 32)
    assert not set(read(other, ask(ADMIN, columns))["attendee_key"]) & set(keys["attendee_key"])


def test_every_personal_column_has_a_policy_for_every_role() -> None:
    personal = {
        (dataset.name, column.name)
        for dataset in EXPORTS.values()
        for column in dataset.columns
        if column.pii is not None
    }
    assert set(POLICY) == personal
    for cell in POLICY.values():
        assert set(cell) == set(Role)
        assert cell[Role.VIEWER] is Treatment.ABSENT
        assert Treatment.CLEAR not in cell.values()
    # What the source contract calls personal is called so here, under whatever name.
    contract = {c.name for fact in DAILY_FACTS for c in fact.columns if c.pii}
    assert contract - {"buyer_identity"} == {
        column.name
        for column in EXPORTS["attendees"].columns
        if column.pii not in (None, Pii.PSEUDONYM)
    }


def test_a_role_s_scope_cannot_be_left_out() -> None:
    with pytest.raises(ValueError, match="without organizer_id"):
        Requester(role=Role.ORGANIZER)
    with pytest.raises(ValueError, match="sees every organizer"):
        Requester(role=Role.ADMIN, organizer_id=1)
    assert treatment("attendees", "attendee_email", CLEAR) is Treatment.CLEAR
    assert treatment("attendees", "attendee_email", UNREASONED) is Treatment.MASKED
    assert treatment("attendees", "ticket_id", VIEWER) is Treatment.CLEAR
    with pytest.raises(ValueError, match="must not be read"):
        mask_sql("attendee_email", Treatment.ABSENT)


@pytest.fixture(scope="module")
def engine() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        yield connection


@settings(max_examples=100, deadline=None)
@given(value=st.text(), consent=st.sampled_from([True, False, None]), search=st.text(min_size=1))
def test_masks_are_constants_and_searches_literal(
    engine: duckdb.DuckDBPyConnection, value: str, consent: bool | None, search: str
) -> None:
    expressions = [
        mask_sql("name", Treatment.MASKED),
        mask_sql("name", Treatment.CONSENTED),
        search_sql("name", Treatment.CLEAR),
        search_sql("name", Treatment.CONSENTED),
    ]
    row = engine.execute(
        f"SELECT {', '.join(map(str, expressions))}"
        " FROM (SELECT $v AS name, CAST($c AS BOOLEAN) AS contact_consent)",
        {"v": value, "c": consent, "search": search},
    ).fetchone()
    assert row is not None
    masked, consented, found, allowed = row
    assert masked == MASK
    assert consented == (value if consent else MASK)
    assert allowed == (found and consent is True)
    if (value + search).isascii():
        assert found == (search.lower() in value.lower())
    assert search_sql("name", Treatment.MASKED) is None
    assert search_sql("name", Treatment.PSEUDONYM) is None
