"""ES256 key pairs and tokens (RFC 7515, RFC 7519). A key's id is its thumbprint (RFC 7638)."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Final

from joserfc import jwt
from joserfc.jwk import ECKey

from mesh.runtime.errors import ConfigurationError
from mesh.sealing import SealBroken, Sealer
from mesh.trust.claims import AUDIENCE, ISSUER
from mesh.trust.verifier import ALGORITHM
from services.identity import errors
from services.identity.domain.keys import signing_now
from services.identity.domain.model import Claims, PublicKey, SigningKey

_TYPE: Final = "at+jwt"


def make_key(sealer: Sealer) -> tuple[str, str, bytes]:
    """Make a key pair: its id, the public JWK, the sealed private JWK."""
    pair = ECKey.generate_key("P-256")
    kid = pair.thumbprint()
    public = {**pair.as_dict(private=False), "kid": kid, "use": "sig", "alg": ALGORITHM}
    private = json.dumps(pair.as_dict(private=True)).encode()
    return kid, json.dumps(public, sort_keys=True), sealer.seal(private, place=f"signing-key/{kid}")


def jwks(keys: Iterable[PublicKey]) -> bytes:
    """Return a JSON Web Key Set (RFC 7517, section 5)."""
    return json.dumps({"keys": [json.loads(key.jwk) for key in keys]}).encode()


class KeyRing:
    """The port `Signer`: the private keys, opened, in memory."""

    def __init__(self, sealer: Sealer, now: Callable[[], datetime]) -> None:
        """Start with no key."""
        self._sealer = sealer
        self._now = now
        self._keys: tuple[SigningKey, ...] = ()
        self._opened: dict[str, ECKey] = {}

    def take(self, keys: Iterable[SigningKey]) -> None:
        """Take the keys that may sign.

        Raises:
            ConfigurationError: a key was sealed with another key-encryption key.
        """
        self._keys = tuple(keys)
        self._opened = {key.kid: self._opened.get(key.kid) or self._open(key) for key in self._keys}

    def kid(self) -> str:
        """Return the id of the key that signs now.

        Raises:
            Unavailable: no key signs yet.
        """
        key = signing_now(self._keys, self._now())
        if key is None:
            raise errors.no_signing_key()
        return key.kid

    def sign(self, claims: Claims, kid: str) -> str:
        """Return the token, signed by the key that `kid` returned.

        Raises:
            Unavailable: the key is not there any more.
        """
        key = self._opened.get(kid)
        if key is None:
            raise errors.no_signing_key()
        issued = int(claims.issue_time.timestamp())
        content = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": claims.subject,
            "exp": int(claims.expire_time.timestamp()),
            "iat": issued,
            "nbf": issued,
            "jti": claims.token_id,
            "tenant": claims.tenant,
            "scope": " ".join(sorted(claims.scopes)),
            "kind": claims.kind,
        }
        header = {"alg": ALGORITHM, "kid": kid, "typ": _TYPE}
        return jwt.encode(header, content, key, algorithms=[ALGORITHM])

    def _open(self, key: SigningKey) -> ECKey:
        try:
            private = self._sealer.open(key.sealed_private_jwk, place=f"signing-key/{key.kid}")
        except SealBroken as error:
            raise ConfigurationError(
                f"signing key {key.kid} was sealed with another key-encryption key"
            ) from error
        return ECKey.import_key(json.loads(private))
