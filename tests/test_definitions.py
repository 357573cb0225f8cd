"""The code location: quick and silent to import, complete in what it shows, without secrets."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.remote_representation.external_data import RepositorySnap

from metrics.datasets import DATASETS
from pipelines.definitions import build_defs
from pipelines.settings import Settings
from resources.source_contract import FACTS

ROOT = Path(__file__).parent.parent
IMPORT_SECONDS = 20
IMPORT = """
import socket, sys, time
def refuse(*_args, **_kwargs):
    raise AssertionError("import opened a connection")
socket.socket.connect = refuse
began = time.process_time()
import pipelines.definitions
assert time.process_time() - began < 8, "import is slow"
assert "local" not in sys.modules, "the code location needs the embedded servers"
"""


def test_the_code_location_imports_in_a_fresh_interpreter_without_environment_or_io() -> None:
    environment = {"PATH": os.environ["PATH"], "HOME": "/nonexistent"}
    subprocess.run(
        [sys.executable, "-W", "error::dagster.BetaWarning", "-c", IMPORT],
        cwd=ROOT,
        env=environment,
        check=True,
        timeout=IMPORT_SECONDS,
    )


@pytest.fixture(scope="module")
def definitions(settings: Settings) -> dg.Definitions:
    return build_defs(settings)


@pytest.fixture(scope="module")
def specs(definitions: dg.Definitions) -> dict[str, dg.AssetSpec]:
    return {spec.key.to_user_string(): spec for spec in definitions.resolve_all_asset_specs()}


def test_every_asset_of_the_flow_is_there(specs: dict[str, dg.AssetSpec]) -> None:
    expected = {fact.table for fact in FACTS.values()} | {"movements"} | set(DATASETS)
    expected |= {f"ticketing/{name}" for name in FACTS}
    expected |= {"reconciliation", "source_fingerprint", "export_files"}
    assert set(specs) == expected


def test_every_asset_says_what_it_is_whose_and_how_it_looks(
    specs: dict[str, dg.AssetSpec],
) -> None:
    for name, spec in specs.items():
        assert spec.description, name
        assert spec.owners, name
        assert spec.group_name, name
        assert spec.kinds, name
        if name.startswith("ticketing/"):
            continue
        assert spec.code_version, name
        schema = spec.metadata["dagster/column_schema"]
        assert isinstance(schema, dg.TableSchema)
        assert schema.columns, name
        for column in schema.columns:
            assert column.description, f"{name}.{column.name}"
            assert column.type, f"{name}.{column.name}"


def test_personal_data_has_one_table_of_its_own(specs: dict[str, dg.AssetSpec]) -> None:
    personal = {column.name for fact in FACTS.values() for column in fact.columns if column.pii}
    holders = set()
    for name, spec in specs.items():
        schema = spec.metadata.get("dagster/column_schema")
        if isinstance(schema, dg.TableSchema) and personal & {c.name for c in schema.columns}:
            holders.add(name)
    assert holders == {"raw_attendees"}


def test_no_secret_is_part_of_what_dagster_is_shown(
    definitions: dg.Definitions, settings: Settings
) -> None:
    shown = dg.serialize_value(RepositorySnap.from_def(definitions.get_repository_def()))
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        if hasattr(value, "get_secret_value"):
            assert value.get_secret_value() not in shown, name


def test_days_weeks_and_months_are_partitioned_and_bounded(definitions: dg.Definitions) -> None:
    graph = definitions.resolve_asset_graph()
    for name in (*(f.table for f in FACTS.values() if not f.is_catalogue), "movements"):
        node = graph.get(dg.AssetKey(name))
        assert isinstance(node.partitions_def, dg.DailyPartitionsDefinition), name
        assert node.backfill_policy is not None, name
        assert node.backfill_policy.max_partitions_per_run == 92, name
    for name in ("daily_metrics", "daily_payments", "daily_ticket_types"):
        assert isinstance(graph.get(dg.AssetKey(name)).partitions_def, dg.DailyPartitionsDefinition)
    weekly = graph.get(dg.AssetKey("weekly_revenue")).partitions_def
    assert isinstance(weekly, dg.WeeklyPartitionsDefinition)
    assert weekly.get_first_partition_key() == "2024-01-01"
    monthly = graph.get(dg.AssetKey("monthly_revenue")).partitions_def
    assert isinstance(monthly, dg.MonthlyPartitionsDefinition)


def test_every_job_is_bounded_in_time(definitions: dg.Definitions) -> None:
    for job in definitions.get_repository_def().get_all_jobs():
        if not job.name.startswith("__"):
            assert int(job.tags["dagster/max_runtime"]) <= 3600, job.name
