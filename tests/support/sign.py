"""Signs with the platform's own key, as only the identity service can.

`python -m tests.support.sign` reads JSON from stdin: claims, and prints their token; or a list of
pairs (what the header changes, the payload as text), and prints the list of their tokens. It exists
so that a test can make a token in which nothing is wrong but one thing, which the signature covers:
run in identity's environment, with identity's key-encryption key.
"""

from __future__ import annotations

import asyncio
import json
import sys
from base64 import urlsafe_b64encode

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from joserfc import jwt
from joserfc.jwk import ECKey

from mesh.storage import Database
from services.identity.bootstrap import BootstrapSettings
from services.identity.signing import KeyRing
from services.identity.wiring import Stores, key_rotation, open_sealer, utc_now

Raw = list[tuple[dict[str, object], str]]


async def signing_key() -> tuple[str, ECKey]:
    """Give the id of the key that signs now, and the key."""
    settings = BootstrapSettings()
    sealer = open_sealer(settings)
    async with Database.open(settings.postgres_url, name="sign", largest=2, start_seconds=30) as database:
        stores = Stores(database, settings.postgres_url, lambda _envelope: None)
        ring = KeyRing(sealer, utc_now)
        ring.take(await key_rotation(stores.trust, sealer, settings).ensure())
        kid = ring.kid()
        return kid, ring._opened[kid]


def encode(content: bytes) -> str:
    """Give base64url without padding (RFC 7515, section 2)."""
    return urlsafe_b64encode(content).rstrip(b"=").decode()


def sign_raw(kid: str, key: ECKey, changes: dict[str, object], payload: str) -> str:
    """Sign a header and a payload whatever they are; a header's member that is null is left out."""
    head = {"alg": "ES256", "kid": kid, "typ": "at+jwt", **changes}
    content = json.dumps({name: value for name, value in head.items() if value is not None})
    signed = f"{encode(content.encode())}.{encode(payload.encode())}"
    private = key.private_key
    assert isinstance(private, ec.EllipticCurvePrivateKey)
    r, s = decode_dss_signature(private.sign(signed.encode(), ec.ECDSA(SHA256())))
    return f"{signed}.{encode(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"


async def main() -> None:
    """Sign what stdin holds."""
    given = json.load(sys.stdin)
    kid, key = await signing_key()
    if isinstance(given, list):
        sys.stdout.write(json.dumps([sign_raw(kid, key, *each) for each in given]))
    else:
        header = {"alg": "ES256", "kid": kid, "typ": "at+jwt"}
        sys.stdout.write(jwt.encode(header, given, key, algorithms=["ES256"]))


if __name__ == "__main__":
    asyncio.run(main())
