"""The cache serves what Postgres would, never what was superseded, and is never needed."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import date
from urllib.parse import urlsplit

import httpx
import pytest
import redis
from pydantic import SecretStr

from api import redis_link
from api.cache import PREFIX, body, normalized, pack, unpack
from api.front import takes_gzip
from api.redis_link import NoAnswerError, RedisLink
from exports.masking import Role
from local import ports
from pipelines.settings import Settings
from tests.api_client import (
    FOREIGN,
    FOREIGN_EVENT,
    MINE,
    MY_EVENT,
    URL,
    Client,
    publish_day,
    running,
    until,
    with_client,
)


@pytest.fixture(scope="module")
def settings(sample_settings: Settings) -> Settings:
    return sample_settings


@pytest.fixture
def store(settings: Settings) -> Iterator[redis.Redis]:
    """Redis, emptied."""
    with redis.Redis.from_url(settings.redis_url.get_secret_value()) as client:
        client.flushdb()
        yield client


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests of what is kept do not depend on how busy this machine is."""
    monkeypatch.setattr(redis_link, "BUDGET_SECONDS", 5.0)


def organizer(client: Client, number: int = MINE) -> dict[str, str]:
    return client.as_(Role.ORGANIZER, number)


def gross(answer: httpx.Response) -> int:
    assert answer.status_code == 200, answer.text
    return int(answer.json()["data"][0]["totals"]["gross_revenue"]["minor"])


async def kept(client: Client, **headers: str) -> httpx.Response:
    """Ask, and wait until the answer is kept."""
    answer = await client.get(URL, headers=organizer(client) | headers)
    await client.app.state.services.cache.settle()
    return answer


@pytest.mark.usefixtures("patient")
def test_an_answer_is_kept_and_served_as_it_was(settings: Settings, store: redis.Redis) -> None:
    async def ask(client: Client) -> None:
        counts = client.app.state.services.cache.counts
        first = await kept(client)
        reordered = "/sample/revenue?to=2026-03-05&from=2026-03-01"
        second = await client.get(reordered, headers=organizer(client))
        assert second.content == first.content
        assert second.headers["etag"] == first.headers["etag"]
        assert second.headers["cache-control"] == "private, no-cache"
        assert (counts["hits"], counts["misses"]) == (1, 1)
        keys = list(store.scan_iter(f"{PREFIX}*"))
        assert len(keys) == 1
        assert 0 < store.ttl(keys[0]) <= 300
        unchanged = await kept(client, **{"If-None-Match": first.headers["etag"]})
        assert (unchanged.status_code, unchanged.content) == (304, b"")
        assert unchanged.headers["etag"] == first.headers["etag"]

    with_client(settings, ask)


@pytest.mark.usefixtures("patient", "store")
def test_no_two_scopes_and_no_two_formats_share_an_answer(settings: Settings) -> None:
    async def ask(client: Client) -> None:
        counts = client.app.state.services.cache.counts
        for headers in (
            organizer(client),
            organizer(client, FOREIGN),
            client.as_(Role.VIEWER, MINE),
            client.as_(),
            organizer(client) | {"Accept": "text/csv"},
        ):
            assert (await client.get(URL, headers=headers)).status_code == 200
            await client.app.state.services.cache.settle()
        assert counts["hits"] == 0
        await client.get(URL, headers=client.as_(Role.ORGANIZER, MINE, "another@account"))
        assert counts["hits"] == 1, "two accounts of an organizer see the same"

    with_client(settings, ask)


@pytest.mark.usefixtures("patient", "store")
def test_a_publication_makes_older_answers_unreachable(settings: Settings) -> None:
    async def ask(client: Client) -> None:
        before = await kept(client)
        assert gross(before) == 900
        events = {MY_EVENT: 1_000, FOREIGN_EVENT: 7_700}
        began = time.monotonic()
        await asyncio.to_thread(publish_day, settings, date(2026, 3, 3), events)
        await until(lambda: _gross_is(client, 1_600))
        assert time.monotonic() - began < 5
        after = await kept(client)
        assert after.json()["meta"]["data_version"] != before.json()["meta"]["data_version"]
        assert after.headers["etag"] != before.headers["etag"]
        assert after.json()["meta"]["restated"] == ["2026-03-03"]
        await asyncio.to_thread(publish_day, settings, date(2026, 3, 3), events | {MY_EVENT: 300})
        await until(lambda: _gross_is(client, 900))

    async def _gross_is(client: Client, expected: int) -> bool:
        return gross(await client.get(URL, headers=organizer(client))) == expected

    with_client(settings, ask)


@pytest.mark.usefixtures("patient", "store")
def test_publishing_the_same_again_leaves_answers_reachable(settings: Settings) -> None:
    async def ask(client: Client) -> None:
        await kept(client)
        version = client.app.state.services.database.publications.version(("daily_metrics",))
        again = {MY_EVENT: 100, FOREIGN_EVENT: 7_700}
        await asyncio.to_thread(publish_day, settings, date(2026, 3, 1), again)
        asked = client.app.state.services.database.publications
        since = time.monotonic()
        await until(lambda: asked._asked_at > since)
        assert asked.version(("daily_metrics",)) == version

    with_client(settings, ask)


def test_answers_are_of_one_version_while_days_are_published(settings: Settings) -> None:
    """Two events always get the same new amount in one transaction: no answer mixes two."""
    day = date(2026, 2, 1)
    query = "/sample/revenue?from=2026-02-01&to=2026-02-01"
    versions: dict[str, set[int]] = {}

    def publish_all(stop: asyncio.Event) -> None:
        for amount in range(1, 25):
            publish_day(settings, day, {MY_EVENT: amount, MY_EVENT + 1: amount})
        stop.set()

    async def ask(client: Client) -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        publishing = asyncio.create_task(asyncio.to_thread(publish_all, stop))
        while not publishing.done():
            answer = await client.get(query, headers=organizer(client))
            if answer.status_code == 200 and answer.json()["data"]:
                found = answer.json()
                versions.setdefault(found["meta"]["data_version"], set()).add(gross(answer))
        await publishing
        assert loop.is_running()

    with_client(settings, ask)
    assert len(versions) > 1
    for amounts in versions.values():
        assert len(amounts) == 1, "one version, one number"
        assert next(iter(amounts)) % 2 == 0


@pytest.mark.usefixtures("patient")
def test_errors_are_never_kept(settings: Settings, store: redis.Redis) -> None:
    async def ask(client: Client) -> None:
        for path, status in (
            ("/sample/events/999", 404),
            ("/sample/revenue?from=2026-03-05&to=2026-03-01", 422),
            ("/sample/revenue?from=x&to=y&z=1", 422),
            ("/sample/broken", 500),
        ):
            for _ in range(2):
                answer = await client.get(path, headers=organizer(client))
                assert answer.status_code == status
                assert answer.headers["cache-control"] == "no-store"
        await client.app.state.services.cache.settle()
        assert list(store.scan_iter(f"{PREFIX}*")) == []

    with_client(settings, ask)


@pytest.mark.usefixtures("patient")
def test_garbage_in_redis_is_not_served(settings: Settings, store: redis.Redis) -> None:
    async def ask(client: Client) -> None:
        first = await kept(client)
        client.app.state.services.cache.held_limit = 0  # every answer is fetched
        key = next(iter(store.scan_iter(f"{PREFIX}*"))).decode()
        good = store.get(key)
        assert isinstance(good, bytes)
        flipped = good[:-5] + bytes([good[-5] ^ 1]) + good[-4:]
        of_another_key = pack("another", body(b'{"data":1}'))
        for garbage in (b"", b"garbage", flipped, good[:40], of_another_key):
            store.set(key, garbage)
            assert (await kept(client)).content == first.content
            assert store.get(key) == good, "it is replaced"
        store.delete(key)
        store.hset(key, "not", "a text")
        assert (await kept(client)).content == first.content
        rates = next(iter(store.scan_iter("boxoffice:rate:*")))
        store.set(rates, "not a hash")
        assert (await kept(client)).content == first.content

    with_client(settings, ask)


@pytest.mark.usefixtures("patient")
def test_what_a_worker_holds_is_served_only_while_redis_has_the_same(
    settings: Settings, store: redis.Redis
) -> None:
    async def ask(client: Client) -> None:
        cache = client.app.state.services.cache
        first = await kept(client)
        assert (await kept(client)).content == first.content  # fetched, and held from now on
        key = next(iter(store.scan_iter(f"{PREFIX}*"))).decode()
        assert cache.held(key) is not None
        fetched = _fetched(store)
        assert (await kept(client)).content == first.content
        assert _fetched(store) == fetched + 1, "only its ETag was compared"
        store.set(key, pack(key, body(b'{"data":"another worker\'s"}')))
        assert (await kept(client)).json() == {"data": "another worker's"}
        store.delete(key)
        assert (await kept(client)).content == first.content
        assert cache.counts["misses"] == 2

    with_client(settings, ask)


def _fetched(store: redis.Redis) -> int:
    """Texts that were fetched whole; each call fetches how often the cache was cleared."""
    commands = store.info("commandstats")
    return int(commands["cmdstat_get"]["calls"])


class Proxy:
    """A way to Redis that can fall silent."""

    def __init__(self, settings: Settings) -> None:
        self._url = urlsplit(settings.redis_url.get_secret_value())
        self._speaks = asyncio.Event()
        self._speaks.set()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[str]:
        """Its URL."""
        tasks: set[asyncio.Task[None]] = set()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            there = await asyncio.open_connection(self._url.hostname, self._url.port)
            for source, target in ((reader, there[1]), (there[0], writer)):
                tasks.add(asyncio.create_task(self._pass_on(source, target)))

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        yield self._url._replace(netloc=f":{self._url.password}@127.0.0.1:{port}").geturl()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        server.close()

    async def _pass_on(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        while found := await source.read(1 << 16):
            await self._speaks.wait()
            target.write(found)
        target.close()

    def silence(self) -> None:
        self._speaks.clear()

    async def speak(self, client: Client) -> None:
        """Answer again, and wait until it is asked again."""
        self._speaks.set()
        cache, link = client.app.state.services.cache, client.app.state.services.link
        await cache.settle()
        await until(lambda: not link.is_resting)


def through(proxy: Proxy, settings: Settings, test: Callable[[Client], Awaitable[None]]) -> None:
    async def run() -> None:
        async with proxy.running() as url:
            given = settings.model_copy(update={"redis_url": _secret(url)})
            async with running(given) as client:
                await test(client)

    asyncio.run(run())


@pytest.mark.usefixtures("store")
def test_while_redis_is_silent_the_held_answer_to_the_very_same_question_is_served(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_link, "BUDGET_SECONDS", 0.5)
    proxy = Proxy(settings)

    async def ask(client: Client) -> None:
        cache = client.app.state.services.cache
        first = await kept(client)
        assert gross(first) == 900
        proxy.silence()
        again = await client.get(URL, headers=organizer(client))
        assert (again.content, cache.counts["held"]) == (first.content, 1)
        assert int(again.headers["ratelimit-remaining"]) < int(again.headers["ratelimit-limit"])
        unchanged = await client.get(
            URL, headers=organizer(client) | {"If-None-Match": first.headers["etag"]}
        )
        assert (unchanged.status_code, cache.counts["held"]) == (304, 2)
        # Nobody else's, and no other format's.
        assert gross(await client.get(URL, headers=organizer(client, FOREIGN))) == 30_800
        table = await client.get(URL, headers=organizer(client) | {"Accept": "text/csv"})
        assert table.headers["content-type"].startswith("text/csv")
        assert cache.counts["held"] == 2
        # Not what was superseded.
        events = {MY_EVENT: 1_000, FOREIGN_EVENT: 7_700}
        await asyncio.to_thread(publish_day, settings, date(2026, 3, 3), events)
        await until(lambda: _gross_is(client, 1_600))
        await asyncio.to_thread(publish_day, settings, date(2026, 3, 3), events | {MY_EVENT: 300})
        await until(lambda: _gross_is(client, 900))
        # Not what Redis would have dropped.
        held, computed = cache.counts["held"], cache.counts["misses"]
        for entry in cache._held.values():
            entry.until = time.monotonic()
        assert gross(await client.get(URL, headers=organizer(client))) == 900
        assert (cache.counts["held"], cache.counts["misses"]) == (held, computed + 1)

    async def _gross_is(client: Client, expected: int) -> bool:
        return gross(await client.get(URL, headers=organizer(client))) == expected

    through(proxy, settings, ask)


def test_what_was_cleared_is_not_served_by_a_worker_that_heard_from_redis(
    settings: Settings, store: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_link, "BUDGET_SECONDS", 0.5)
    proxy = Proxy(settings)

    async def ask(client: Client) -> None:
        cache = client.app.state.services.cache
        await kept(client)
        assert cache._held
        async with running(settings) as other:
            cleared = await other.post("/api/v1/admin/cache/clear", headers=other.as_())
            assert cleared.json()["data"] == {"deleted": 1}
        await client.get(URL, headers=organizer(client, FOREIGN))  # hears of it
        proxy.silence()
        assert gross(await client.get(URL, headers=organizer(client))) == 900
        assert cache.counts["held"] == 0
        await proxy.speak(client)
        await until(lambda: _is_kept(client))
        own = await client.post("/api/v1/admin/cache/clear", headers=client.as_())
        assert own.status_code == 200
        assert not cache._held

    async def _is_kept(client: Client) -> bool:
        await kept(client)
        return bool(store.keys(f"{PREFIX}*"))

    through(proxy, settings, ask)


def test_an_event_loop_that_is_late_is_not_taken_for_a_slow_redis(
    settings: Settings, store: redis.Redis
) -> None:
    store.set("answer", "here")

    async def run() -> None:
        link = RedisLink(settings.redis_url.get_secret_value())
        await until(lambda: _answers(link))  # connected
        loop = asyncio.get_running_loop()
        for _ in range(4):
            asked = asyncio.create_task(link.call("GET", "answer"))
            for _ in range(3):  # turns of the loop that are each later than the whole budget
                loop.call_soon(time.sleep, 1.5 * redis_link.BUDGET_SECONDS)
                await asyncio.sleep(0)
            assert await asked == b"here"
        assert not link.is_resting
        await link.close()

    async def _answers(link: RedisLink) -> bool:
        try:
            return bool(await link.call("PING"))
        except NoAnswerError:
            return False

    asyncio.run(run())


def test_a_caller_who_takes_gzip_is_sent_what_is_kept(
    settings: Settings, store: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_link, "BUDGET_SECONDS", 5.0)

    async def ask(client: Client) -> None:
        plain = await kept(client, **{"Accept-Encoding": "identity"})
        assert "content-encoding" not in plain.headers
        packed = await kept(client, **{"Accept-Encoding": "br, gzip;q=0.5"})
        assert packed.headers["content-encoding"] == "gzip"
        assert packed.content == plain.content
        assert int(packed.headers["content-length"]) < len(plain.content) / 2
        assert packed.headers["etag"] != plain.headers["etag"]
        assert "Accept-Encoding" in packed.headers["vary"]
        (key,) = store.scan_iter(f"{PREFIX}*")
        stored = store.get(key)
        assert isinstance(stored, bytes)
        assert len(stored) < len(plain.content) / 2
        for known in (plain, packed):
            unchanged = await kept(client, **{"If-None-Match": known.headers["etag"]})
            assert unchanged.status_code == 304

    with_client(settings, ask)


@pytest.mark.parametrize(
    ("header", "takes"),
    [
        (b"", False),
        (b"gzip", True),
        (b"GZIP;q=1.0", True),
        (b"gzip; q=0", False),
        (b"gzip;q=0.0, *", False),
        (b"*", True),
        (b"br, deflate", False),
        (b"identity, gzip;q=0.001", True),
    ],
)
def test_gzip_is_sent_to_who_takes_it(header: bytes, takes: bool) -> None:
    assert takes_gzip(header) is takes


def test_the_envelope_knows_its_key() -> None:
    for answer in (body(b'{"data":1}'), body(b'{"data":[%b]}' % b",".join([b"1"] * 2000))):
        stored = pack("k", answer)
        assert unpack("k", stored) == answer
        assert unpack("other", stored) is None
        assert unpack("k", stored[:-1]) is None
    assert unpack("k", None) is None


def test_two_queries_that_mean_the_same_are_one() -> None:
    assert normalized(b"b=2&a=1") == normalized(b"a=1&b=2") == normalized(b"a=%31&b=2")
    assert normalized(b"a=1&a=2") != normalized(b"a=2&a=1")
    assert normalized(b"a=1%26b%3D2") != normalized(b"a=1&b=2")


@pytest.mark.usefixtures("patient", "store")
def test_many_who_ask_the_same_are_answered_by_one_computation(settings: Settings) -> None:
    async def ask(client: Client) -> None:
        counts = client.app.state.services.cache.counts
        headers = organizer(client)
        answers = await asyncio.gather(*(client.get(URL, headers=headers) for _ in range(20)))
        assert {gross(answer) for answer in answers} == {900}
        await client.app.state.services.cache.settle()
        assert counts["stored"] == 1
        assert counts["shared"] + counts["hits"] == 19

    with_client(settings, ask)


def silent_port() -> socket.socket:
    """A server that accepts and never answers."""
    server = socket.create_server(("127.0.0.1", 0))
    server.listen(64)
    return server


def test_a_redis_that_is_away_or_silent_costs_its_budget_and_then_nothing(
    settings: Settings,
) -> None:
    with silent_port() as silent:
        addresses = (ports.choose(29999), silent.getsockname()[1])
        for port in addresses:
            url = f"redis://127.0.0.1:{port}/0"

            async def ask(client: Client) -> list[float]:
                took = []
                for _ in range(8):
                    began = time.perf_counter()
                    assert gross(await client.get(URL, headers=organizer(client))) == 900
                    took.append(time.perf_counter() - began)
                assert client.app.state.services.link.is_resting
                stats = await client.get("/api/v1/admin/cache/stats", headers=client.as_())
                assert stats.json()["data"]["redis"] == "does not answer"
                cleared = await client.post("/api/v1/admin/cache/clear", headers=client.as_())
                assert cleared.status_code == 503
                return took

            took = with_client(settings.model_copy(update={"redis_url": _secret(url)}), ask)
            # The budget is lost while it is being tried, three times; then it is not asked.
            assert sum(took) < 3 * redis_link.BUDGET_SECONDS + 3
            assert min(took[3:]) < redis_link.BUDGET_SECONDS


def _secret(url: str) -> SecretStr:
    return SecretStr(url)


@pytest.mark.usefixtures("patient")
def test_a_full_redis_is_done_without(settings: Settings, store: redis.Redis) -> None:
    limit, policy = (store.config_get(n)[n] for n in ("maxmemory", "maxmemory-policy"))
    store.config_set("maxmemory-policy", "noeviction")
    store.config_set("maxmemory", 1)
    try:

        async def ask(client: Client) -> None:
            for _ in range(2):
                assert gross(await kept(client)) == 900
            assert client.app.state.services.cache.counts["hits"] == 0

        with_client(settings, ask)
    finally:
        store.config_set("maxmemory", limit)
        store.config_set("maxmemory-policy", policy)


@pytest.mark.usefixtures("patient")
def test_clearing_deletes_answers_and_nothing_else(settings: Settings, store: redis.Redis) -> None:
    async def ask(client: Client) -> None:
        await kept(client)
        store.set("somebody:elses", "1")
        cleared = await client.post("/api/v1/admin/cache/clear", headers=client.as_())
        assert cleared.json()["data"] == {"deleted": 1}
        assert store.get("somebody:elses") == b"1"
        assert list(store.scan_iter("boxoffice:rate:*"))
        hint = await client.get("/api/v1/admin/cache/clear", headers=client.as_())
        assert (hint.status_code, hint.headers["allow"]) == (405, "POST")
        assert "POST" in hint.json()["detail"]

    with_client(settings, ask)
