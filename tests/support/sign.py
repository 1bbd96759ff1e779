"""Signs claims with the platform's own key, as only the identity service can.

`python -m tests.support.sign` reads claims as JSON from stdin and prints the
token. It exists so that a test can make a token in which nothing is wrong but
one claim: run in identity's environment, with identity's key-encryption key.
"""

from __future__ import annotations

import asyncio
import json
import sys

from joserfc import jwt

from mesh.storage import Database
from services.identity.bootstrap import BootstrapSettings
from services.identity.signing import KeyRing
from services.identity.wiring import Stores, key_rotation, open_sealer, utc_now


async def sign(claims: dict[str, object]) -> str:
    """Give the token."""
    settings = BootstrapSettings()
    sealer = open_sealer(settings)
    async with Database.open(settings.postgres_url, name="sign", largest=2, start_seconds=30) as database:
        stores = Stores(database, settings.postgres_url, lambda _envelope: None)
        ring = KeyRing(sealer, utc_now)
        ring.take(await key_rotation(stores.trust, sealer, settings).ensure())
        kid = ring.kid()
        header = {"alg": "ES256", "kid": kid, "typ": "at+jwt"}
        return jwt.encode(header, claims, ring._opened[kid], algorithms=["ES256"])


if __name__ == "__main__":
    sys.stdout.write(asyncio.run(sign(json.load(sys.stdin))))
