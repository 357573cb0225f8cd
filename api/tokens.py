"""Bearer tokens: JWTs, verified strictly.

Belongs here: which tokens are accepted, where their keys come from, and minting them for
development. Does not belong here: what their bearer may do (``api.policy``).

A token is accepted if its algorithm is one this deployment uses (RS256 and ES256 with the key of
the JWKS that its ``kid`` names; HS256 with the development secret) and it has this audience and
issuer, ``token_type`` "access", ``sub``, ``role``, ``organizer_id`` where the role needs one,
``iat`` and an ``exp`` at most 24 hours after it. A verified token is remembered by its hash for
five minutes, or until it expires: that long a key that left the JWKS may go on being accepted, and
for up to an hour while the JWKS cannot be fetched (``api.key_set``).
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Literal
from urllib.parse import urlsplit

import jwt
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from api.key_set import KeySet, KeysUnavailableError, UnknownKeyError
from api.principal import Principal
from api.problems import Kind, Problem, unavailable
from exports.masking import Role
from pipelines.settings import Settings

ACCESS = "access"
MAX_LIFETIME_SECONDS = 24 * 3600
LEEWAY_SECONDS = 30
_ASYMMETRIC = ("RS256", "ES256")
_MAX_LENGTH = 8 * 1024
_REMEMBERED = 10_000
_REMEMBERED_SECONDS = 300
_MIN_SECRET_BYTES = 32
_MIN_SECRET_VARIETY = 10
_REQUIRED = ["exp", "iat", "iss", "aud", "sub"]


class ConfigurationError(RuntimeError):
    """The settings give no safe way to verify tokens; says which and what to set."""


class _Claims(BaseModel):
    """The claims this API reads; others are allowed, as every issuer has some."""

    model_config = ConfigDict(strict=True, hide_input_in_errors=True)

    sub: str = Field(
        max_length=200, pattern=r"^[^\x00-\x1f\x7f]*[^\x00-\x20\x7f][^\x00-\x1f\x7f]*$"
    )
    token_type: Literal["access"]
    role: Literal["super_admin", "admin", "organizer", "viewer"]
    organizer_id: int | None = Field(None, ge=1, le=2**63 - 1)
    iat: int
    exp: int


def refused(detail: str) -> Problem:
    """401 with the reason, which never quotes the token."""
    return Problem(
        Kind.UNAUTHENTICATED,
        detail,
        headers={"WWW-Authenticate": 'Bearer realm="boxoffice", error="invalid_token"'},
    )


@dataclass(frozen=True)
class _Remembered:
    principal: Principal
    until: float


def check_configuration(settings: Settings) -> None:
    """Refuse settings under which somebody could make tokens of their own.

    Raises:
        ConfigurationError: a secret is missing, weak, or not allowed in production.
    """
    secret, url = settings.api_token_secret, settings.api_jwks_url
    if settings.environment == "production":
        if secret is not None:
            raise ConfigurationError(
                "BOXOFFICE_API_TOKEN_SECRET is for development; in production mode unset it and "
                "set BOXOFFICE_API_JWKS_URL to the address of your identity provider's public keys"
            )
        if url is None:
            raise ConfigurationError(
                "BOXOFFICE_API_JWKS_URL is not set; in production mode tokens are verified with "
                "the public keys found there"
            )
        if urlsplit(url).scheme != "https":
            raise ConfigurationError(
                "BOXOFFICE_API_JWKS_URL must be https:// in production mode: who can change the "
                "keys on the way can make tokens"
            )
    elif secret is None and url is None:
        raise ConfigurationError(
            "neither BOXOFFICE_API_TOKEN_SECRET (development) nor BOXOFFICE_API_JWKS_URL is set: "
            "no token could be verified"
        )
    if secret is not None:
        value = secret.get_secret_value()
        if len(value.encode()) < _MIN_SECRET_BYTES or len(set(value)) < _MIN_SECRET_VARIETY:
            raise ConfigurationError(
                "BOXOFFICE_API_TOKEN_SECRET is too weak; make one with "
                '`python -c "import secrets; print(secrets.token_hex(32))"`'
            )


def mint(settings: Settings, principal: Principal, lifetime_seconds: int = 3600) -> str:
    """A development token, signed with the development secret.

    Raises:
        ConfigurationError: this is production mode, or there is no secret.
        ValueError: the lifetime is not between a second and 24 hours.
    """
    if settings.environment == "production":
        raise ConfigurationError(
            "production mode mints no tokens; they come from the identity provider whose public "
            "keys BOXOFFICE_API_JWKS_URL gives"
        )
    check_configuration(settings)
    if settings.api_token_secret is None:
        raise ConfigurationError("BOXOFFICE_API_TOKEN_SECRET is not set")
    if not 0 < lifetime_seconds <= MAX_LIFETIME_SECONDS:
        raise ValueError(f"a token lives for 1 to {MAX_LIFETIME_SECONDS} seconds")
    now = int(time.time())
    claims: dict[str, Any] = {
        "iss": settings.api_token_issuer,
        "aud": settings.api_token_audience,
        "sub": principal.account,
        "token_type": ACCESS,
        "role": principal.role.value,
        "iat": now,
        "exp": now + lifetime_seconds,
    }
    if principal.organizer_id is not None:
        claims["organizer_id"] = principal.organizer_id
    return jwt.encode(claims, settings.api_token_secret.get_secret_value(), algorithm="HS256")


class Tokens:
    """Verifies tokens and remembers those it verified.

    Args:
        settings: checked first; see ``check_configuration``.

    Raises:
        ConfigurationError: the settings are not safe.
    """

    def __init__(self, settings: Settings) -> None:
        """Fetch nothing yet."""
        check_configuration(settings)
        self._issuer = settings.api_token_issuer
        self._audience = settings.api_token_audience
        secret = settings.api_token_secret
        self._secret = None if secret is None else secret.get_secret_value()
        url = settings.api_jwks_url
        self._public_keys = None if url is None else KeySet(url)
        self._remembered: dict[bytes, _Remembered] = {}

    def remembered(self, header: bytes) -> Principal | None:
        """The bearer of an ``Authorization`` header that was verified before and is still good."""
        found = self._remembered.get(sha256(header).digest())
        return found.principal if found is not None and found.until > time.time() else None

    async def verify(self, header: bytes | None) -> Principal:
        """The bearer of an ``Authorization`` header.

        Raises:
            Problem: unauthenticated, with the reason; or unavailable: the keys cannot be fetched.
        """
        if header is None:
            raise Problem(Kind.UNAUTHENTICATED, "Send a token: `Authorization: Bearer <token>`.")
        scheme, _, token = header.partition(b" ")
        if scheme.lower() != b"bearer" or not token.strip():
            raise Problem(
                Kind.UNAUTHENTICATED, "Send the header as `Authorization: Bearer <token>`."
            )
        if len(token) > _MAX_LENGTH:
            raise refused("The token is too long.")
        claims = await self._claims(token.strip())
        try:
            principal = Principal(claims.sub, Role(claims.role), claims.organizer_id)
        except ValueError as error:
            raise refused(f"The token contradicts itself: {error}.") from None
        self._remember(header, principal, claims.exp)
        return principal

    def _remember(self, header: bytes, principal: Principal, expires: float) -> None:
        now = time.time()
        digest = sha256(header).digest()
        self._remembered.pop(digest, None)
        while len(self._remembered) >= _REMEMBERED:
            del self._remembered[next(iter(self._remembered))]  # the oldest
        until = min(expires, now + _REMEMBERED_SECONDS)
        self._remembered[digest] = _Remembered(principal, until)

    async def _claims(self, token: bytes) -> _Claims:
        try:
            header = jwt.get_unverified_header(token)
            key, algorithms = await self._key(header)
            payload = jwt.decode(
                token,
                key,
                algorithms=algorithms,
                audience=self._audience,
                issuer=self._issuer,
                leeway=LEEWAY_SECONDS,
                options={"require": _REQUIRED, "enforce_minimum_key_length": True},
            )
        except jwt.ExpiredSignatureError:
            raise refused("The token has expired.") from None
        except jwt.ImmatureSignatureError:
            raise refused("The token is not valid yet.") from None
        except jwt.MissingRequiredClaimError as error:
            raise refused(f"The token has no claim {error.claim}.") from None
        except (jwt.InvalidAudienceError, jwt.InvalidIssuerError):
            raise refused("The token is for another audience, or of another issuer.") from None
        except (jwt.PyJWTError, ValueError, UnicodeError):
            raise refused("The token is malformed, or its signature is wrong.") from None
        try:
            claims = _Claims.model_validate(payload)
        except ValidationError as error:
            names = sorted({str(found["loc"][0]) for found in error.errors()})
            raise refused(f"The token's claims are missing or wrong: {', '.join(names)}.") from None
        if claims.exp <= time.time():  # leeway is for clocks that are behind, not for old tokens
            raise refused("The token has expired.")
        if not 0 < claims.exp - claims.iat <= MAX_LIFETIME_SECONDS:
            raise refused("The token lives longer than 24 hours.")
        return claims

    async def _key(self, header: dict[str, Any]) -> tuple[jwt.PyJWK | str, list[str]]:
        algorithm = header.get("alg")
        if algorithm == "HS256" and self._secret is not None:
            return self._secret, ["HS256"]
        if algorithm in _ASYMMETRIC and self._public_keys is not None:
            kid = header.get("kid")
            if not isinstance(kid, str) or not kid:
                raise refused("The token's header has no kid.")
            try:
                key = await self._public_keys.key(kid)
            except KeysUnavailableError:
                raise unavailable("The keys of tokens cannot be fetched.", 5) from None
            except UnknownKeyError:
                raise refused("The token's kid names no known key.") from None
            if key.algorithm_name != algorithm:
                raise refused("The token's algorithm is not that of its key.")
            return key, [algorithm]
        raise refused("The token's algorithm is not accepted here.")
