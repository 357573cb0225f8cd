"""The public keys of tokens: fetched from a JWKS URL, kept, and used while it does not answer.

Belongs here: when the keys are asked for again. Does not belong here: which tokens are accepted
(``api.tokens``).

Whoever calls chooses a ``kid``, so a ``kid`` that is not known must cost nobody else anything: it
makes the keys be asked for once in half a minute at most, and what is known is given meanwhile.
"""

from __future__ import annotations

import asyncio
import logging
import time

import jwt

_LOG = logging.getLogger("boxoffice.api")
FRESH_SECONDS = 300
"""After which the keys are asked for again."""
USABLE_SECONDS = 3600
"""How long the keys last fetched are used while they cannot be fetched again."""
MIN_INTERVAL_SECONDS = 30
"""Between two fetches for a ``kid`` that is not known."""
_RETRY_SECONDS = 3
_TIMEOUT_SECONDS = 3


class KeysUnavailableError(Exception):
    """The keys cannot be fetched, and none that is known may be used any more."""


class UnknownKeyError(LookupError):
    """No key has this ``kid``."""


class KeySet:
    """The keys found at a URL.

    Raises:
        jwt.PyJWKClientError: the URL is neither http nor https.
    """

    def __init__(self, url: str) -> None:
        """Fetch nothing yet."""
        self._client = jwt.PyJWKClient(url, cache_jwk_set=False, timeout=_TIMEOUT_SECONDS)
        self._lock = asyncio.Lock()
        self._keys: dict[str, jwt.PyJWK] = {}
        self._fetched_at = float("-inf")
        self._failed_at = float("-inf")

    async def key(self, kid: str) -> jwt.PyJWK:
        """The key with a ``kid``.

        Raises:
            KeysUnavailableError: it is not known whether there is one.
            UnknownKeyError: there is none.
        """
        if not self._is_due(kid):
            return self._known(kid)
        async with self._lock:  # one fetch at a time, however many ask
            if self._is_due(kid):
                await self._fetch()
        return self._known(kid)

    def _is_due(self, kid: str) -> bool:
        now = time.monotonic()
        if now - self._failed_at < _RETRY_SECONDS:
            return False
        age = now - self._fetched_at
        return age >= (FRESH_SECONDS if kid in self._keys else MIN_INTERVAL_SECONDS)

    def _known(self, kid: str) -> jwt.PyJWK:
        found = self._keys.get(kid)
        has_failed = self._failed_at > self._fetched_at
        if found is None and not has_failed:
            raise UnknownKeyError(kid)
        if found is None or time.monotonic() - self._fetched_at >= USABLE_SECONDS:
            raise KeysUnavailableError
        return found

    async def _fetch(self) -> None:
        try:
            found = await asyncio.to_thread(self._ask)
        except (jwt.PyJWTError, ValueError, OSError) as error:
            self._failed_at = time.monotonic()
            _LOG.error("the keys of tokens cannot be fetched: %s", type(error).__name__)
            return
        self._keys = found
        self._fetched_at = time.monotonic()

    def _ask(self) -> dict[str, jwt.PyJWK]:
        payload = self._client.fetch_data()
        if payload.get("keys") == []:  # all were taken away: an answer, not an outage
            return {}
        keys = jwt.PyJWKSet.from_dict(payload).keys
        return {
            key.key_id: key for key in keys if key.key_id and key.public_key_use in ("sig", None)
        }
