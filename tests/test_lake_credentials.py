"""The lake is reached with the keys that are given, or with those of the AWS default chain."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from resources.lake import Lake, LakeCredentialsError
from tests.conftest import Servers
from tests.deployment import Deployment

AWS = (
    *("AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"),
    *("AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"),
    *("AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_ROLE_ARN"),
)


@pytest.fixture
def lake(
    make_deployment: Callable[..., Deployment], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Lake:
    """A lake without keys, on a machine that has none anywhere."""
    for name in AWS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    return replace(make_deployment().lake, access_key_id=None, secret_access_key=None)


def assert_usable(lake: Lake) -> None:
    with lake.session() as connection:
        path = f"{lake.data_path}written.parquet"
        connection.execute(f"COPY (SELECT 42 AS n) TO '{path}' (FORMAT parquet)")
        assert connection.execute(f"SELECT n FROM '{path}'").fetchall() == [(42,)]


def test_keys_of_a_profile_are_found(
    lake: Lake, servers: Servers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "credentials").write_text(
        f"[lake]\naws_access_key_id = {servers.s3.access_key_id}\n"
        f"aws_secret_access_key = {servers.s3.password}\n"
    )
    monkeypatch.setenv("AWS_PROFILE", "lake")
    assert_usable(lake)


def test_keys_of_the_environment_are_found(
    lake: Lake, servers: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", servers.s3.access_key_id)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", servers.s3.password)
    assert_usable(lake)


def test_no_keys_anywhere_are_an_error_that_says_how_to_give_some(lake: Lake) -> None:
    with (
        pytest.raises(LakeCredentialsError, match="BOXOFFICE_S3_ACCESS_KEY_ID is not set"),
        lake.session(),
    ):
        pytest.fail("it was opened")
