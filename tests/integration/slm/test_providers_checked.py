"""Profiles of providers on this machine, where a setting allows them: health from the provider itself."""

from __future__ import annotations

from typing import Any

from soma.slm.v1 import resources_pb2 as models_pb
from soma.slm.v1 import service_pb2 as pb

from mesh.stack.settings import StackSettings
from tests.support import providers
from tests.support.identity import Owner
from tests.support.replicas import replica
from tests.support.slm import Slm, creation


async def test_a_providers_health_is_asked_with_the_stored_key(settings: StackSettings, owner: Owner) -> None:
    async with (
        providers.running() as provider,
        replica(settings, "slm", SOMA_PROVIDER_LOOPBACK="true") as process,
        process.channel("edge") as channel,
    ):
        slm = Slm(channel)

        async def health(name: str, key: str, model: str, **changes: Any) -> models_pb.ModelHealth:
            made = creation(name, api_key=key, provider_model=model, **changes)
            await slm.models.CreateModel(made, metadata=owner.auth)
            return await slm.models.CheckModel(pb.CheckModelRequest(name=name), metadata=owner.auth)

        openai = {"base_url": f"{provider.root}/v1"}
        anthropic = {"base_url": provider.root, "provider": models_pb.PROVIDER_ANTHROPIC}
        assert (await health("right", providers.KEY, providers.MODEL, **openai)).ready
        assert (await health("also-right", providers.KEY, providers.MODEL, **anthropic)).ready
        wrong = await health("wrong-key", "sk-wrong", providers.MODEL, **openai)
        assert (wrong.ready, wrong.message) == (
            False,
            f"the provider of {providers.MODEL} refused the request: 401",
        )
        absent = await health("absent", providers.KEY, "nosuch", **anthropic)
        assert (absent.ready, absent.message) == (False, "model nosuch does not exist")
        provider.overloaded = True
        again = await slm.models.CheckModel(pb.CheckModelRequest(name="right"), metadata=owner.auth)
        assert not again.ready
        log = settings.home.log / f"slm-{process.port}.log"
        assert providers.KEY not in log.read_text()
