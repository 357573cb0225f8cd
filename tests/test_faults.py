"""Every moment a failure may fall between: readers see old or new, and a retry converges.

Worker processes are killed (SIGKILL) or held at named points, beside other runs of the same days.
"""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
from pydantic import SecretStr

from local import ports
from local.provision import provision
from local.servers import EmbeddedPostgres
from pipelines.migrate import migrate
from tests import worker
from tests.deployment import SQL, Deployment
from warehouse.faults import FaultPoint

SCHEMA = Path(__file__).parent.parent / "local" / "ticketing"
DAY = "2024-01-11"
SEED = 20240111
ASSETS = ("raw_orders", "raw_tickets", "raw_payments", "movements", "daily_metrics")
"""What changes here, and what lies between it and readers."""


@pytest.fixture(scope="module")
def deployment(make_deployment: Callable[..., Deployment]) -> Deployment:
    made = make_deployment()
    made.source(SCHEMA / "schema.sql", SCHEMA / "indexes.sql", SQL / "golden.sql")
    made.run("refresh_days", DAY)
    return made


@pytest.fixture(scope="module")
def amounts() -> Iterator[int]:
    """Amounts never used before, so that every version can be told apart."""
    chance = random.Random(SEED)
    return iter(chance.sample(range(1_000, 1_000_000), 1_000))


def pay(deployment: Deployment, amount: int) -> None:
    deployment.source(f"UPDATE payments SET amount_minor = {amount}, updated_at = now()")


PUBLISHED = "SELECT sum(payments)::bigint AS payments FROM reporting.daily_metrics"


def published(deployment: Deployment) -> int:
    """The day's payments as readers see them."""
    [row] = deployment.rows(PUBLISHED)
    payments: int = row["payments"]
    return payments


@contextmanager
def reading(deployment: Deployment) -> Iterator[set[int]]:
    """What a reader sees of daily_metrics meanwhile."""
    seen: set[int] = set()
    stop = threading.Event()

    def read() -> None:
        url = deployment.settings.warehouse_url.get_secret_value()
        with psycopg.connect(url, autocommit=True) as connection:
            while not stop.wait(0.02):
                seen.update(row[0] for row in connection.execute(PUBLISHED))

    reader = threading.Thread(target=read)
    reader.start()
    try:
        yield seen
    finally:
        stop.set()
        reader.join()


def assert_converged(deployment: Deployment, amount: int) -> None:
    """The new version everywhere, nothing twice, nothing lost."""
    assert published(deployment) == amount, f"seed {SEED}"
    with deployment.lake.session() as connection:
        counts = connection.execute(
            """SELECT (SELECT count(*) FROM lake.raw_orders),
                (SELECT count(*) FROM lake.raw_tickets),
                (SELECT list(amount_minor) FROM lake.raw_payments)"""
        ).fetchall()
    assert counts == [(1, 2, [amount])], f"seed {SEED}"
    restated = deployment.rows(
        "SELECT dataset FROM ops.restatements WHERE metric = 'payments' AND new_value = %s",
        (amount,),
    )
    assert restated == [{"dataset": "daily_metrics"}], f"seed {SEED}"


@pytest.mark.parametrize("point", FaultPoint)
def test_a_step_killed_at_any_point_leaves_a_version_and_a_retry_converges(
    deployment: Deployment, amounts: Iterator[int], point: FaultPoint
) -> None:
    old, new = published(deployment), next(amounts)
    pay(deployment, new)
    with reading(deployment) as seen:
        killed = worker.start(deployment, "refresh_days", DAY, DAY, assets=ASSETS, kill_at=point)
        assert killed.wait() == -9
        assert published(deployment) == (new if point is FaultPoint.PUBLISHED else old)
        deployment.run("refresh_days", DAY, assets=ASSETS)
    assert seen <= {old, new}, f"seed {SEED}"
    assert_converged(deployment, new)


@pytest.mark.parametrize("point", FaultPoint)
def test_a_step_that_outlives_its_run_and_finishes_last_changes_nothing(
    deployment: Deployment, amounts: Iterator[int], point: FaultPoint
) -> None:
    """Dagster gave the first run up and started another one; the first one's step lives on."""
    before, old, new = published(deployment), next(amounts), next(amounts)
    pay(deployment, old)
    with reading(deployment) as seen:
        outlived = worker.start(deployment, "refresh_days", DAY, DAY, assets=ASSETS, hold_at=point)
        outlived.wait_until_reached()
        [unfinished] = deployment.instance.get_runs(limit=1)
        deployment.instance.report_run_failed(unfinished, "the run worker was lost")
        pay(deployment, new)
        if point is FaultPoint.PUBLISHING:
            # It holds the partition: the newer run waits for it, so the older one ends first.
            threading.Timer(1, outlived.go_on).start()
        deployment.run("refresh_days", DAY, assets=ASSETS)
        outlived.go_on()
        outlived.wait()
    assert seen <= {before, old, new}, f"seed {SEED}"
    assert_converged(deployment, new)


@pytest.fixture
def own_postgres(tmp_path: Path) -> Iterator[EmbeddedPostgres]:
    """A server that a test may shut down."""
    server = EmbeddedPostgres(tmp_path / "postgres", ports.choose(26432))
    server.start()
    try:
        yield server
    finally:
        server.stop()


def test_a_warehouse_shut_down_at_once_during_a_publication_serves_the_old_version_again(
    make_deployment: Callable[..., Deployment],
    own_postgres: EmbeddedPostgres,
    amounts: Iterator[int],
) -> None:
    made = make_deployment()
    urls = provision(own_postgres)
    elsewhere = {
        "warehouse_url": SecretStr(urls["BOXOFFICE_WAREHOUSE_URL"]),
        "warehouse_owner_url": SecretStr(urls["BOXOFFICE_WAREHOUSE_OWNER_URL"]),
    }
    deployment = replace(made, settings=made.settings.model_copy(update=elsewhere))
    migrate(deployment.settings)
    deployment.source(SCHEMA / "schema.sql", SCHEMA / "indexes.sql", SQL / "golden.sql")
    deployment.run("refresh_days", DAY)
    old, new = published(deployment), next(amounts)
    pay(deployment, new)
    run = worker.start(
        deployment, "refresh_days", DAY, DAY, assets=ASSETS, hold_at=FaultPoint.PUBLISHING
    )
    run.wait_until_reached()
    pid = own_postgres.pid
    assert pid is not None
    os.kill(pid, signal.SIGQUIT)  # immediate shutdown: no checkpoint, clients are cut off
    while own_postgres.is_running():
        time.sleep(0.05)
    own_postgres.start()
    assert published(deployment) == old
    run.go_on()
    assert run.wait() != 0
    assert published(deployment) == old
    deployment.run("refresh_days", DAY, assets=ASSETS)
    assert_converged(deployment, new)
    deployment.close()
