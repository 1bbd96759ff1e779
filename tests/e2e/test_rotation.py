"""Certificates are rotated under load: nobody who calls or streams notices."""

from __future__ import annotations

import pytest

from tests.chaos.scenarios import rotation
from tests.support.stack import Stack


@pytest.mark.timeout(300)
async def test_every_process_takes_each_new_certificate_and_no_stream_is_cut(stack: Stack) -> None:
    found = await rotation.rotate(stack, 2, seed=1)
    assert found.wrong == ()
    assert found.counts["certificates"] >= 2 * len(
        [one for one in await stack.processes() if one.kind == "service"]
    )
