"""Tokens for tenants of a test's own, signed by the platform's own key."""

from __future__ import annotations

import time
import uuid

from mesh.runtime.ids import new_id
from mesh.stack.settings import StackSettings
from tests.support import stack as stacks

Metadata = tuple[tuple[str, str], ...]


async def token_for(settings: StackSettings, tenant: str, *scopes: str) -> Metadata:
    """The metadata of a call with a token of a tenant that holds scopes."""
    now = int(time.time())
    claims: dict[str, object] = {
        "iss": "soma",
        "aud": "soma",
        "sub": new_id("usr"),
        "iat": now,
        "nbf": now - 1,
        "exp": now + 600,
        "jti": f"tok_{uuid.uuid4().hex}",
        "tenant": tenant,
        "scope": " ".join(scopes),
        "kind": "user",
    }
    return (("authorization", f"Bearer {await stacks.sign(settings, claims)}"),)
