"""Real servers for the whole test session, and settings that point to them."""

from __future__ import annotations

import os
import re
import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

from local import ports
from local.provision import ensure_database, provision, role_passwords
from local.servers import EmbeddedPostgres, EmbeddedRedis, EmbeddedS3
from pipelines.settings import Settings
from tests.deployment import Deployment, build_deployment
from warehouse.migrate import upgrade
from warehouse.publish import connect

LONGEST = (
    "test_backfill",
    "test_faults",
    "test_exports",
    "test_export_datasets",
    "test_extraction",
    "test_late_data",
    "test_restatements",
    "test_figures",
    "test_quarantine",
    "test_explain",
    "test_reconciliation",
    "test_failures",
    "test_up",
)
"""Modules that take longest begin first, so that no core is left with one of them at the end."""
BUCKETS = ("boxoffice-lake", "boxoffice-exports", "boxoffice-logs")


def pytest_xdist_auto_num_workers() -> int:
    """A worker more than cores: tests wait for servers and processes a third of their time."""
    return min(4, (os.cpu_count() or 1) + 1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Order modules: the longest first, the others as they are."""
    now = time.time()
    for item in items:
        if any(abs(now - int(digits)) < 1e6 for digits in re.findall(r"\d{10}", item.nodeid)):
            raise pytest.UsageError(f"{item.nodeid} has the time in its name: workers differ in it")
    rank = {name: number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: rank.get(item.path.stem, len(LONGEST)))


@dataclass(frozen=True)
class Servers:
    """The servers of the test session and the variables that lead to them."""

    postgres: EmbeddedPostgres
    s3: EmbeddedS3
    redis: EmbeddedRedis
    variables: dict[str, str]


class ExplicitSettings(Settings):
    """Settings that read neither the environment nor a file."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (init_settings,)


@pytest.fixture(scope="session", autouse=True)
def _dagster_batches_events() -> Iterator[None]:
    """As ``boxoffice up`` sets it: materializations of many days are stored together."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DAGSTER_EVENT_BATCH_SIZE", "1000")
        yield


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """Postgres (provisioned), S3 (with the buckets) and Redis, started once."""
    root = tmp_path_factory.mktemp("servers")
    postgres = EmbeddedPostgres(root, ports.choose(25432), durable=False)
    s3 = EmbeddedS3(root, ports.choose(29000))
    redis = EmbeddedRedis(root, ports.choose(26379))
    started = []
    try:
        for server in (postgres, s3, redis):
            server.start()
            started.append(server)
        s3.create_buckets(*BUCKETS)
        variables = provision(postgres) | {
            "BOXOFFICE_REDIS_URL": redis.url,
            "BOXOFFICE_S3_ENDPOINT_URL": s3.endpoint_url,
            "BOXOFFICE_S3_ACCESS_KEY_ID": s3.access_key_id,
            "BOXOFFICE_S3_SECRET_ACCESS_KEY": s3.password,
            "BOXOFFICE_BUYER_KEY_SECRET": secrets.token_hex(32),
        }
        yield Servers(postgres, s3, redis, variables)
    finally:
        for server in reversed(started):
            server.stop()


@pytest.fixture(scope="session")
def make_settings(servers: Servers) -> Callable[..., Settings]:
    """Return a function that builds Settings for the session's servers, with overrides."""

    def make(**overrides: object) -> Settings:
        values: dict[str, object] = {
            name.removeprefix("BOXOFFICE_").lower(): value
            for name, value in servers.variables.items()
        }
        return ExplicitSettings(**(values | overrides))  # type: ignore[arg-type]

    return make


@pytest.fixture(scope="session")
def settings(make_settings: Callable[..., Settings]) -> Settings:
    """Settings of the session's servers and their provisioned databases."""
    return make_settings()


@pytest.fixture(scope="session")
def fresh_database(servers: Servers) -> Callable[..., str]:
    """Return a function that creates an empty database and returns its owner's URL.

    Its first argument names the owning role; ``connects`` names further roles that may connect:
    ``fresh_database("ticketing", connects=["boxoffice_source_reader"])``. The fixture ``role_url``
    gives the URL of the same database for another role. With ``copy_of``, the URL of a database
    nobody is connected to, the new one begins as its copy.
    """

    def create(
        owner: str = "boxoffice_owner",
        connects: list[str] | None = None,
        copy_of: str = "template1",
    ) -> str:
        name = f"test_{secrets.token_hex(6)}"
        with psycopg.connect(servers.postgres.url(), autocommit=True) as connection:
            connection.execute(
                # Copying files is twice as fast as writing them to the log, which is the default.
                sql.SQL("CREATE DATABASE {} OWNER {} TEMPLATE {} STRATEGY file_copy").format(
                    *map(sql.Identifier, (name, owner, copy_of.rsplit("/", 1)[-1]))
                )
            )
            ensure_database(connection, name, owner)
            for role in connects or []:
                connection.execute(
                    sql.SQL("GRANT CONNECT ON DATABASE {} TO {}").format(
                        sql.Identifier(name), sql.Identifier(role)
                    )
                )
        return servers.postgres.url(name, owner, role_passwords(servers.postgres)[owner])

    return create


@pytest.fixture(scope="session")
def role_url(servers: Servers) -> Callable[[str, str], str]:
    """Return a function that gives the URL of a database for another provisioned role."""

    def make(url: str, role: str) -> str:
        password = role_passwords(servers.postgres)[role]
        return servers.postgres.url(url.rsplit("/", 1)[1], role, password)

    return make


@pytest.fixture(scope="module")
def urls(
    fresh_database: Callable[..., str], role_url: Callable[[str, str], str]
) -> tuple[str, str, str]:
    """URLs of one migrated warehouse as owner, publisher and reader."""
    owner = fresh_database("boxoffice_owner", connects=["boxoffice_publisher", "boxoffice_reader"])
    upgrade(owner)
    return owner, role_url(owner, "boxoffice_publisher"), role_url(owner, "boxoffice_reader")


@pytest.fixture
def owner(urls: tuple[str, str, str]) -> Iterator[psycopg.Connection[dict[str, Any]]]:
    """A connection as owner, which may do what nobody else may."""
    with connect(urls[0]) as connection:
        yield connection


@pytest.fixture(scope="module")
def sample_settings(
    make_settings: Callable[..., Settings],
    fresh_database: Callable[..., str],
    role_url: Callable[[str, str], str],
) -> Settings:
    """Settings of a read API over a small published warehouse of the module's own."""
    from tests.api_client import api_settings, fill  # with it comes the API, which others lack

    made = api_settings(make_settings, fresh_database, role_url)
    fill(made)
    return made


@pytest.fixture
def state_root(tmp_path: Path) -> Path:
    """An empty state directory."""
    return tmp_path / "state"


@pytest.fixture(scope="session")
def make_deployment(
    servers: Servers,
    make_settings: Callable[..., Settings],
    fresh_database: Callable[..., str],
    role_url: Callable[[str, str], str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Callable[..., Deployment]]:
    """Return a function that builds a deployment of its own; all are closed at the end."""
    made: list[Deployment] = []

    def make(copy_of: Deployment | None, **options: object) -> Deployment:
        deployment = build_deployment(
            tmp_path_factory.mktemp("dagster"),
            make_settings,
            fresh_database,
            role_url,
            servers.s3.create_buckets,
            copy_of=copy_of,
            **options,  # type: ignore[arg-type]
        )
        made.append(deployment)
        return deployment

    first = make(None)
    first.instance.dispose()  # Dagster has made its tables; nobody may be connected to a copied one
    yield partial(make, first)
    for deployment in made:
        deployment.close()
