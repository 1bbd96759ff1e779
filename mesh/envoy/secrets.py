"""SDS: the edge's certificate and the root that it trusts."""

from __future__ import annotations

from base64 import b64encode
from typing import TYPE_CHECKING

from mesh.envoy.typed import ADS, Resource

if TYPE_CHECKING:
    from mesh.envoy.snapshot import Snapshot

IDENTITY = "edge"
ROOT = "root"


def secrets(snapshot: Snapshot) -> list[Resource]:
    """Give both secrets; a rotation changes the first and cuts nothing."""
    own = snapshot.credentials
    return [
        {
            "name": IDENTITY,
            "tls_certificate": {
                "certificate_chain": _inline(own.chain_pem),
                "private_key": _inline(own.key_pem),
            },
        },
        {"name": ROOT, "validation_context": {"trusted_ca": _inline(own.ca_pem)}},
    ]


def secret_reference(name: str) -> Resource:
    """Name a secret that comes over ADS."""
    return {"name": name, "sds_config": ADS}


def _inline(pem: bytes) -> Resource:
    return {"inline_bytes": b64encode(pem).decode()}
