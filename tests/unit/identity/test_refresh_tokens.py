"""Refresh tokens name their tenant, and are known by digest only."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.identity.domain.signin import digest_of, tenant_of_refresh_token


@pytest.mark.parametrize(
    ("token", "tenant"),
    [
        ("srt.tnt_1.secret", "tnt_1"),
        ("srt.tnt_1.a.b", "tnt_1"),
        ("srt.tnt_1.", None),
        ("srt.tnt_1", None),
        ("srt.usr_1.x", None),
        ("srt..x", None),
        ("xyz.tnt_1.x", None),
        ("", None),
    ],
)
def test_a_token_names_its_tenant_or_is_none(token: str, tenant: str | None) -> None:
    assert tenant_of_refresh_token(token) == tenant


@given(st.text())
def test_no_text_breaks_the_reader(text: str) -> None:
    tenant = tenant_of_refresh_token(text)
    assert tenant is None or text.startswith(f"srt.{tenant}.")


def test_the_digest_is_sha_256() -> None:
    assert digest_of("srt.tnt_1.x") == hashlib.sha256(b"srt.tnt_1.x").digest()
