"""A second version beside the first, data that outlives its server, and a certificate that changes."""

from __future__ import annotations

import asyncio
import json
import ssl
from pathlib import Path

import pytest
from cryptography import x509

from mesh.pki.folder import PkiFolder
from mesh.pki.workloads import workload
from mesh.stack import client, kafka_reload
from mesh.stack.errors import Code, StackError
from mesh.stack.settings import StackSettings
from tests.support.stack import OwnStacks, processes, soma


def listed(settings: StackSettings) -> dict[str, str]:
    """Process and version of every endpoint that the control plane is told of."""
    rows = json.loads(settings.home.endpoints.read_text(encoding="utf-8"))
    return {row["process"]: row["version"] for row in rows}


def tell(settings: StackSettings, **request: object) -> client.Message:
    return client.tell(settings.home, dict(request))


async def test_a_canary_runs_beside_the_stable_version_and_goes_again(own: OwnStacks, tmp_path: Path) -> None:
    settings = own.settings()
    await soma(settings, "up", "--only", "policy,identity")
    assert listed(settings) == {"policy": "stable", "identity": "stable"}
    await asyncio.to_thread(
        tell, settings, op="start-canary", service="policy", env={"SOMA_LOG_LEVEL": "debug"}
    )
    assert listed(settings)["policy-canary"] == "canary"
    rows = {row.name: row for row in await processes(settings)}
    assert rows["policy-canary"].state == rows["policy"].state == "ready"
    assert rows["policy-canary"].address != rows["policy"].address
    await asyncio.to_thread(tell, settings, op="stop-canary", service="policy")
    assert set(listed(settings)) == {"policy", "identity"}
    with pytest.raises(StackError) as refused:
        await asyncio.to_thread(tell, settings, op="start-canary", service="policy", code=str(tmp_path))
    assert refused.value.code is Code.DIED_IN_START
    assert set(listed(settings)) == {"policy", "identity"}
    assert {row.name for row in await processes(settings)} >= {"policy", "identity"}
    assert "policy-canary" not in {row.name for row in await processes(settings)}


async def test_topics_outlive_their_broker(own: OwnStacks) -> None:
    settings = own.settings()
    await soma(settings, "up", "--only", "kafka")
    folder = settings.home.data("kafka") / "log"
    made = (folder / "meta.properties").read_text()
    assert (folder / "audit.records-0").is_dir()
    await soma(settings, "down")
    await soma(settings, "up", "--only", "kafka")
    assert (folder / "meta.properties").read_text() == made
    assert (folder / "audit.records-0").is_dir()


async def test_kafka_reads_a_renewed_certificate_without_a_restart(own: OwnStacks) -> None:
    settings = own.settings()
    await soma(settings, "up", "--only", "kafka")
    before = await shown(settings)
    PkiFolder(settings.home.pki).rotate([workload("kafka")])
    assert await shown(settings) == before
    for _ in range(2):
        await kafka_reload.reload(settings.ports.address("kafka"), settings.home.pki)
        async with asyncio.timeout(10):
            while await shown(settings) == before:  # noqa: ASYNC110 - the broker has no event for it
                await asyncio.sleep(0.1)
        before = await shown(settings)
        PkiFolder(settings.home.pki).rotate([workload("kafka")])
    assert [row.restarts for row in await processes(settings)] == [0]


async def shown(settings: StackSettings) -> int:
    """The serial number of the certificate that the broker shows."""
    own = settings.home.pki / "supervisor"
    context = ssl.create_default_context(cafile=str(own / "ca.pem"))
    context.load_cert_chain(str(own / "cert.pem"), str(own / "key.pem"))
    _, writer = await asyncio.open_connection("127.0.0.1", settings.ports.of("kafka"), ssl=context)
    try:
        encoded = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        return x509.load_der_x509_certificate(encoded).serial_number
    finally:
        writer.close()
        await writer.wait_closed()
