"""`python -m mesh.stack.kafka_reload`: has the running broker read its renewed certificate.

Kafka reads its key store again when its own configuration changes, and at no other time. The path
of the key store is therefore set to another spelling of the same path (`/./`), which is a change.
Runs with the certificate of the workload `supervisor`, a superuser of the broker.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError

from mesh.events.identity import KafkaIdentity

NODE = "1"
SETTING = "listener.name.ssl.ssl.keystore.location"


def respelled(path: Path, current: str) -> str:
    """Give a spelling of the path that is not the current one."""
    plain = str(path)
    return f"{path.parent}/./{path.name}" if current == plain else plain


async def reload(bootstrap: str, pki: Path) -> None:
    """Change the spelling of the key store's path.

    Raises:
        KafkaError: the broker refuses.
    """
    admin = AIOKafkaAdminClient(
        bootstrap_servers=bootstrap,
        security_protocol="SSL",
        ssl_context=KafkaIdentity(pki / "supervisor").context,
        client_id="soma-kafka-reload",
    )
    await admin.start()
    try:
        current = await _current(admin)
        wanted = respelled(pki / "kafka" / "keystore.pem", current)
        resource = ConfigResource(ConfigResourceType.BROKER, NODE, configs={SETTING: wanted})
        for answer in await admin.alter_configs([resource]):
            for code, message, *_ in answer.resources:
                if code:
                    raise KafkaError(message)
    finally:
        await admin.close()


async def _current(admin: AIOKafkaAdminClient) -> str:
    resource = ConfigResource(ConfigResourceType.BROKER, NODE, configs={SETTING: ""})
    for answer in await admin.describe_configs([resource]):
        for _code, _message, _kind, _name, entries in answer.resources:
            return next((str(entry[1]) for entry in entries if entry[0] == SETTING), "")
    return ""


def main() -> int:
    """Run; a failure is one line on stderr and exit code 1."""
    try:
        asyncio.run(reload(os.environ["SOMA_KAFKA_BOOTSTRAP"], Path(os.environ["SOMA_PKI_DIR"]).parent))
    except (KafkaError, OSError) as error:
        print(f"kafka: its certificate was not read again: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
