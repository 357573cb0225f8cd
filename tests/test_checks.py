"""Checks of finished datasets: what must not be published is found, named and counted."""

from __future__ import annotations

from datetime import date, timedelta

import polars as pl
import pytest

from metrics.audits import (
    AMOUNTS_IN_BOUNDS,
    BOUND,
    DOMAINS,
    IDENTITIES,
    KEYS_UNIQUE,
    NOT_NULL,
    RECONCILED,
    REFERENTIAL,
    VOLUME,
    Catalogue,
    Check,
    Difference,
    audit_rows,
    checks_of,
    reconciled,
    volume,
)
from metrics.datasets import (
    DAILY_METRICS,
    DAILY_PAYMENTS,
    DAILY_TICKET_TYPES,
    DATASETS,
    EVENT_SUMMARY,
    Dataset,
)

DAY, NEXT = date(2026, 3, 2), date(2026, 3, 3)
CATALOGUE = Catalogue(
    pl.DataFrame({"event_id": [1, 2], "organizer_id": [10, 20], "currency": ["KES", "UGX"]}),
    pl.DataFrame({"ticket_type_id": [5], "event_id": [1]}),
)
GRAIN = {"organizer_id": 10, "event_id": 1, "currency": "KES"}


def payments(*changes: dict[str, object]) -> pl.DataFrame:
    """Rows of daily_payments that pass, each with its changes."""
    sums = {
        "payments": 500,
        "payments_count": 1,
        "refunds": 200,
        "refunds_count": 1,
        "chargebacks": -50,
        "net_collected": 350,
        "processing_fees": -3,
    }
    good = {"business_date": DAY, **GRAIN, "provider": "MPESA", "instrument": "mpesa", **sums}
    rows = [good, *({**good, "business_date": NEXT, **change} for change in changes)]
    return pl.DataFrame(rows, schema_overrides={"payments": pl.Int64, "net_collected": pl.Int64})


def failed(dataset: Dataset, rows: pl.DataFrame) -> dict[Check, list[tuple[str, int]]]:
    return {
        verdict.check: [(finding.partition_key, finding.count) for finding in verdict.findings]
        for verdict in audit_rows(dataset, rows, CATALOGUE)
        if not verdict.passed
    }


def test_good_rows_pass_and_so_do_none() -> None:
    assert failed(DAILY_PAYMENTS, payments({})) == {}
    assert failed(DAILY_PAYMENTS, payments({}).clear()) == {}


@pytest.mark.parametrize(
    ("change", "check"),
    [
        ({"business_date": DAY}, KEYS_UNIQUE),
        ({"net_collected": 351}, IDENTITIES),
        ({"instrument": None}, NOT_NULL),
        ({"refunds_count": None}, NOT_NULL),
        ({"provider": "mpesa"}, DOMAINS),
        ({"instrument": "gold"}, DOMAINS),
        ({"payments": -1, "net_collected": -151}, AMOUNTS_IN_BOUNDS),
        ({"payments_count": -1}, AMOUNTS_IN_BOUNDS),
        ({"payments": BOUND + 1, "net_collected": BOUND - 149}, AMOUNTS_IN_BOUNDS),
        ({"processing_fees": -BOUND - 1}, AMOUNTS_IN_BOUNDS),
        ({"event_id": 3}, REFERENTIAL),
        ({"organizer_id": 20}, REFERENTIAL),
        ({"currency": "UGX"}, REFERENTIAL),
    ],
)
def test_each_check_finds_its_own_fault_and_names_the_partition(
    change: dict[str, object], check: Check
) -> None:
    found = failed(DAILY_PAYMENTS, payments({}, {"instrument": "airtel"}, change))
    on_day = str(DAY if "business_date" in change else NEXT)
    repeated = check is KEYS_UNIQUE
    # A row with one fault may share the key of the good one; both are then named.
    assert found.pop(check) == [(on_day, 2 if repeated else 1)]
    assert set(found) <= {KEYS_UNIQUE}


def test_a_currency_must_be_of_iso_4217() -> None:
    assert set(failed(DAILY_PAYMENTS, payments({"currency": "KSH"}))) == {DOMAINS, REFERENTIAL}


def test_a_sum_that_wraps_in_64_bits_is_still_told_from_its_identity() -> None:
    wrapped = payments({"payments": 2**63 - 1, "refunds": -(2**62), "net_collected": -(2**62) + 49})
    assert IDENTITIES in failed(DAILY_PAYMENTS, wrapped)


def test_a_ticket_type_must_be_of_its_event() -> None:
    sums = dict.fromkeys(DAILY_TICKET_TYPES.metric_names, 0)
    named = {"ticket_type_name": "Regular", "ticket_type_kind": "admission"}
    row = {"business_date": DAY, **GRAIN, "ticket_type_id": 5, **named, **sums}
    other = row | {"organizer_id": 20, "event_id": 2, "currency": "UGX"}
    assert failed(DAILY_TICKET_TYPES, pl.DataFrame([row])) == {}
    assert failed(DAILY_TICKET_TYPES, pl.DataFrame([row, other])) == {REFERENTIAL: [(str(DAY), 1)]}


def test_findings_are_counted_in_full_and_ten_are_named() -> None:
    rows = payments(*({"event_id": event} for event in range(100, 130)))
    (verdict,) = (v for v in audit_rows(DAILY_PAYMENTS, rows, CATALOGUE) if not v.passed)
    (finding,) = verdict.findings
    assert (finding.count, len(finding.examples)) == (30, 10)
    assert "event_id 100" in finding.examples[0]


def test_an_unpartitioned_dataset_is_one_partition() -> None:
    columns = (*EVENT_SUMMARY.grain, *EVENT_SUMMARY.attributes)
    texts = {c.name: c.values[0] if c.values else "x" for c in columns if c.type == "text"}
    row = {**texts, **GRAIN, **dict.fromkeys(EVENT_SUMMARY.metric_names, 0)}
    row |= {c.name: None for c in columns if c.nullable}
    assert failed(EVENT_SUMMARY, pl.DataFrame([row])) == {}
    assert failed(EVENT_SUMMARY, pl.DataFrame([row | {"status": "lost"}])) == {
        DOMAINS: [("all", 1)]
    }


def test_differences_are_findings_by_partition_and_hop() -> None:
    differences = [
        Difference("2026-03-02", "source -> raw", f"organizer {n}", "orders", 1, 2)
        for n in range(12)
    ]
    verdict = reconciled(differences, [NEXT])
    assert verdict.blocks
    without, differing = verdict.findings
    assert "boxoffice backfill --from 2026-03-03 --to 2026-03-03" in without.what
    assert (differing.count, len(differing.examples)) == (12, 10)
    assert differing.what == "source -> raw: sums differ"
    assert differing.examples[0] == "organizer 0: orders is 2, should be 1"
    assert reconciled([], []).passed


@pytest.mark.parametrize(
    ("orders", "usual", "is_complete", "warns"),
    [
        (24, 100, True, True),
        (25, 100, True, False),
        (400, 100, True, False),
        (401, 100, True, True),
        (0, 100, False, False),  # a day in progress
        (0, 19, True, False),  # too few to say
    ],
)
def test_an_unusual_volume_warns_and_does_not_block(
    orders: int, usual: int, is_complete: bool, warns: bool
) -> None:
    published = {DAY - timedelta(weeks=week): usual for week in range(1, 9)}
    published |= {DAY - timedelta(days=1): 10**6, DAY - timedelta(weeks=9): 10**6}
    verdict = volume({DAY: orders}, published, [DAY] if is_complete else [])
    assert verdict.passed is not warns
    assert not verdict.blocks


def test_a_first_day_has_no_usual_volume() -> None:
    assert volume({DAY: 5}, {}, [DAY]).passed


def test_every_finished_dataset_has_its_checks() -> None:
    for dataset in DATASETS.values():
        checks = checks_of(dataset)
        assert {KEYS_UNIQUE, RECONCILED} < set(checks)
        assert (VOLUME in checks) is (dataset is DAILY_METRICS)
        assert all(check.blocking for check in checks if check is not VOLUME)
