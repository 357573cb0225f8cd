"""Rate limits: exact whoever asks at once, sliding, and counted locally while Redis is away."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator

import pytest
import redis
from pydantic import SecretStr

from api import redis_link
from api.rate_limits import WINDOW_SECONDS, LocalWindows, RateLimits
from api.redis_link import RedisLink
from exports.masking import Role
from local import ports
from pipelines.settings import Settings
from tests.api_client import MINE, URL, Client, api_settings, with_client

LIMIT = 50


@pytest.fixture(scope="module")
def settings(
    make_settings: Callable[..., Settings],
    fresh_database: Callable[..., str],
    role_url: Callable[[str, str], str],
) -> Settings:
    return api_settings(
        make_settings, fresh_database, role_url, api_rate_limits={"read": LIMIT, "heavy": 2}
    )


@pytest.fixture
def store(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[redis.Redis]:
    """Redis, emptied; asked patiently, however busy this machine is."""
    monkeypatch.setattr(redis_link, "BUDGET_SECONDS", 10.0)
    with redis.Redis.from_url(settings.redis_url.get_secret_value()) as client:
        client.flushdb()
        yield client


@pytest.mark.usefixtures("store")
def test_of_200_requests_at_once_exactly_the_limit_passes(settings: Settings) -> None:
    async def ask(client: Client) -> None:
        headers = client.as_(Role.ORGANIZER, MINE)
        answers = await asyncio.gather(*(client.get(URL, headers=headers) for _ in range(200)))
        statuses = Counter(answer.status_code for answer in answers)
        assert statuses == {200: LIMIT, 429: 150}
        remaining = [int(a.headers["ratelimit-remaining"]) for a in answers if a.is_success]
        assert sorted(remaining) == list(range(LIMIT))
        refused = next(answer for answer in answers if answer.status_code == 429)
        assert refused.headers["ratelimit-limit"] == str(LIMIT)
        assert refused.headers["ratelimit-remaining"] == "0"
        assert 1 <= int(refused.headers["retry-after"]) <= WINDOW_SECONDS + 1
        assert refused.json()["type"] == "urn:boxoffice:problem:rate-limited"
        # Another account and another class of route have limits of their own.
        other = await client.get(URL, headers=client.as_(Role.ORGANIZER, MINE, "another@b"))
        assert other.status_code == 200
        heavy = [
            (await client.get("/api/v1/admin/restatements", headers=client.as_())).status_code
            for _ in range(3)
        ]
        assert heavy == [200, 200, 429]

    with_client(settings, ask)


def test_two_workers_count_together_and_the_window_slides(
    settings: Settings, store: redis.Redis
) -> None:
    from api.principal import Principal

    principal = Principal("a@b", Role.ADMIN)

    async def run() -> None:
        links = [RedisLink(settings.redis_url.get_secret_value()) for _ in range(2)]
        workers = [RateLimits(link, {"read": 10}, 2) for link in links]
        admitted = await asyncio.gather(
            *(workers[n % 2].admit(principal, "read") for n in range(30))
        )
        assert sum(a.is_admitted for a in admitted) == 10
        assert not any(a.is_local for a in admitted)
        # Let time pass, as Redis has it: what was counted is moved into the past.
        key = next(iter(store.scan_iter("boxoffice:rate:*")))
        for age, passes in ((WINDOW_SECONDS - 1, False), (WINDOW_SECONDS + 1, True)):
            now = store.time()[0]
            store.delete(key)
            store.hset(key, mapping={str(now - age): 10, "n": 10, "s": now - age})
            assert (await workers[0].admit(principal, "read")).is_admitted is passes
        assert store.hget(key, "n") == b"1"
        assert 0 < store.ttl(key) <= WINDOW_SECONDS + 2
        store.script_flush()
        assert not (await workers[1].admit(principal, "read")).is_local, "the script is sent again"
        for link in links:
            await link.close()

    asyncio.run(run())


def test_the_local_window_is_exact_and_slides() -> None:
    windows = LocalWindows()
    assert [windows.admit("a", 2, now=0).is_admitted for _ in range(3)] == [True, True, False]
    assert windows.admit("b", 2, now=0).is_admitted
    refused = windows.admit("a", 2, now=WINDOW_SECONDS)
    assert (refused.is_admitted, refused.reset_seconds) == (False, 1)
    assert windows.admit("a", 2, now=WINDOW_SECONDS + 1).is_admitted


def test_without_redis_each_worker_admits_its_share(settings: Settings) -> None:
    away = SecretStr(f"redis://127.0.0.1:{ports.choose(29998)}/0")
    alone = settings.model_copy(update={"redis_url": away, "api_workers": 2})

    async def ask(client: Client) -> Counter[int]:
        headers = client.as_(Role.ORGANIZER, MINE)
        answers = [await client.get(URL, headers=headers) for _ in range(LIMIT)]
        return Counter(answer.status_code for answer in answers)

    assert with_client(alone, ask) == {200: LIMIT // 2, 429: LIMIT // 2}


@pytest.mark.parametrize("limits", [{"unknown": 1}, {"read": 0}])
def test_a_limit_that_cannot_be_meant_is_refused(limits: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="BOXOFFICE_API_RATE_LIMITS"):
        RateLimits(RedisLink("redis://127.0.0.1:1/0"), limits, 1)
