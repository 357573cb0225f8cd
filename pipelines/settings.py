"""All configuration, read from the environment in one place.

Belongs here: every ``BOXOFFICE_*`` variable, its type, its default and its meaning. Nothing else in
the project reads the environment. Does not belong here: opening connections, or choosing ports.

A part (source, warehouse, lake catalog, Dagster storage, object store, Redis) is embedded exactly
when its URL is not set in the environment: then ``boxoffice up`` starts it and writes the URL to
``.boxoffice/env``, which is read here with lower precedence than the environment.
"""

from __future__ import annotations

from datetime import date
from functools import lru_cache
from pathlib import Path
from typing import Literal
from zoneinfo import ZoneInfo

from pydantic import AliasChoices, Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

PROJECT_ROOT = Path(__file__).resolve().parent.parent
STATE_DIRECTORY = PROJECT_ROOT / ".boxoffice"


class Settings(BaseSettings):
    """Configuration of one deployment; field ``x`` is the variable ``BOXOFFICE_X``.

    ``OTEL_EXPORTER_OTLP_ENDPOINT`` alone has the name that a standard gives it.
    """

    model_config = SettingsConfigDict(
        env_prefix="BOXOFFICE_",
        env_file=STATE_DIRECTORY / "env",
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,  # the input holds passwords
    )

    environment: Literal["development", "production"] = "development"
    time_zone: str = Field("Africa/Nairobi", description="Reporting time zone; defines the days.")
    start_date: date = Field(date(2024, 1, 1), description="First reporting day.")

    source_url: SecretStr = Field(description="Ticketing platform, read-only role (postgresql://).")
    source_owner_url: SecretStr | None = Field(
        None, description="The same database, as its owner: sample data, import, simulate."
    )
    warehouse_url: SecretStr = Field(description="Finished and ops tables, publisher role.")
    warehouse_owner_url: SecretStr = Field(
        description="The same database, as its owner: migrations."
    )
    warehouse_reader_url: SecretStr | None = Field(
        None, description="The same database, read-only role: the read API."
    )
    warehouse_adhoc_url: SecretStr | None = Field(
        None, description="The same database, role of ad-hoc SQL alone; None: there is none."
    )
    lake_catalog_url: SecretStr = Field(description="DuckLake catalog database (postgresql://).")
    dagster_url: SecretStr = Field(description="Dagster storage (postgresql+psycopg2://).")
    dagster_webserver_url: str | None = Field(
        None, description="Dagster's webserver (http://host:port), for `boxoffice backfill`."
    )
    redis_url: SecretStr = Field(description="Cache and rate limits (redis://).")

    s3_endpoint_url: str | None = Field(None, description="None means AWS S3 itself.")
    s3_region: str = "us-east-1"
    s3_access_key_id: SecretStr | None = Field(None, description="None: the AWS default chain.")
    s3_secret_access_key: SecretStr | None = None
    lake_bucket: str = "boxoffice-lake"
    exports_bucket: str = "boxoffice-exports"
    logs_bucket: str = "boxoffice-logs"

    buyer_key_secret: SecretStr = Field(
        description="HMAC key of buyer_key. Changing it makes every buyer a new one.", min_length=32
    )

    refresh_cron: str = Field("*/10 * * * *", description="When today is published anew.")
    days_per_run: int = Field(92, ge=1, le=400, description="Days one backfill run may take.")
    lake_retention_days: int = Field(
        30, ge=1, description="How far back the lake can be read as it was."
    )
    late_data_overlap_minutes: int = Field(
        15, ge=1, description="A change may be committed this long after its update time."
    )
    fingerprint_days: int = Field(
        35, ge=1, description="Past days whose counts and sums are compared every night."
    )
    final_after_days: int = Field(
        45, ge=1, description="Age at which a day is final even if late rows go on arriving."
    )
    quarantine_max_share: float = Field(
        0.01, ge=0, le=1, description="Share of a fact's rows above which unusable ones stop it."
    )
    quarantine_tolerance: int = Field(
        10, ge=0, description="Unusable rows of a fact that never stop a run."
    )
    exports_keep_days: int = Field(7, ge=1, description="How long exported files are kept.")
    exports_memory_limit: str = Field(
        "256MB", description="DuckDB's memory in an export; more is spilled."
    )
    exports_spill_directory: Path | None = Field(
        None, description="Where exports keep temporary files; None: the system's folder."
    )
    exports_encryption: str | None = Field(
        "AES256", description="Server-side encryption of exported files; empty: none."
    )
    duckdb_memory_limit: str = "512MB"
    duckdb_threads: int = Field(2, ge=1)

    api_host: str = Field("127.0.0.1", description="Address the read API listens on.")
    api_port: int = Field(8000, ge=1, le=65_535, description="Port the read API listens on.")
    api_workers: int = Field(1, ge=1, le=64, description="Processes that serve the read API.")
    api_token_issuer: str = Field("boxoffice", description="`iss` that tokens must have.")
    api_token_audience: str = Field("boxoffice-api", description="`aud` that tokens must have.")
    api_jwks_url: str | None = Field(
        None, description="Public keys of RS256 and ES256 tokens; required in production."
    )
    api_token_secret: SecretStr | None = Field(
        None, description="HS256 key of development tokens; refused in production."
    )
    api_pool_min: int = Field(1, ge=0, description="Connections each pool of a worker keeps.")
    api_pool_max: int | None = Field(
        None,
        ge=2,
        description="Connections a worker may hold; None: a quarter of max_connections, shared.",
    )
    api_statement_timeout_seconds: float = Field(
        10, gt=0, description="A statement of the read API that takes longer is stopped."
    )
    api_cache_seconds: int = Field(
        300, ge=0, le=300, description="How long an answer is kept in Redis; 0: not at all."
    )
    api_rate_limits: dict[str, int] = Field(
        {},
        description="Requests a principal may make in any minute, by class of route, where it is"
        ' not the default: {"read": 600, "heavy": 60, "export": 20, "sql": 30}.',
    )
    api_access_log: bool = Field(True, description="Whether every request is logged.")
    otel_exporter_otlp_endpoint: str | None = Field(
        None,
        # The standard's own name, without a prefix; and the field's, for settings made in code.
        validation_alias=AliasChoices("OTEL_EXPORTER_OTLP_ENDPOINT", "otel_exporter_otlp_endpoint"),
        pattern=r"^https?://",
        description="Collector of the read API's traces (http://host:4318); None: there are none.",
    )

    @field_validator("time_zone")
    @classmethod
    def _known_time_zone(cls, value: str) -> str:
        ZoneInfo(value)
        return value


@lru_cache(maxsize=1)
def get_settings() -> Settings:
    """Read the settings once per process.

    Raises:
        pydantic.ValidationError: A variable is missing or wrong; names it.
    """
    return Settings()
