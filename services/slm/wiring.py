"""Builds slm from its settings."""

from __future__ import annotations

import time
from datetime import UTC, datetime

from soma.slm.v1 import service_pb2_grpc

from mesh.events.publisher import Publisher
from mesh.inference.addresses import AddressPolicy
from mesh.inference.http import ProviderHttp
from mesh.inference.triton import Triton
from mesh.policy.wiring import join_policy
from mesh.runtime.process import Process
from mesh.sealing import read_sealer
from mesh.storage import Database
from mesh.trust.wiring import join_trust
from models.profiles import load_profiles
from services.slm.config import Settings
from services.slm.domain.built_in import built_in_models
from services.slm.domain.catalogue import Catalogue
from services.slm.domain.model import BuiltIn
from services.slm.handlers.credentials import Credentials
from services.slm.handlers.inference import Inference
from services.slm.handlers.models import Models
from services.slm.providers import Providers
from services.slm.store import Models as ModelStore
from services.slm.token_counts import Tokenizers


async def build(process: Process, settings: Settings) -> None:
    """Wire the process."""
    join_trust(process)
    join_policy(process)
    file, create = settings.key_file()
    database = await process.enter(
        Database.open(settings.postgres_url, name=settings.name, start_seconds=settings.start_seconds)
    )
    publisher = Publisher(settings, database)
    triton = await process.enter(Triton.open(settings.triton_url))
    addresses = AddressPolicy(
        allow_loopback=settings.provider_loopback, allow_private=settings.provider_private
    )
    http = await process.enter(ProviderHttp.open(addresses))
    built_in = _built_in(settings)
    catalogue = Catalogue(
        store=ModelStore(database, publisher.leave),
        built_in=built_in,
        seal=read_sealer(file, create=create),
        addresses=addresses,
        prober=Providers(triton, http),
        now=lambda: datetime.now(UTC),
        elapsed=time.perf_counter,
    )
    counts = Tokenizers(
        {each.model.provider_model: each.tokenizer for each in built_in.values() if each.tokenizer}
    )
    package, rpc = "soma.slm.v1", service_pb2_grpc
    process.serve(rpc.add_ModelsServicer_to_server, Models(catalogue), service=f"{package}.Models")
    process.serve(
        rpc.add_InferenceServicer_to_server,
        Inference(catalogue, counts, triton),
        service=f"{package}.Inference",
    )
    process.serve(
        rpc.add_CredentialsServicer_to_server, Credentials(catalogue), service=f"{package}.Credentials"
    )
    process.own(publisher.run(), name="publisher")
    process.ready_when("postgres", database.ping)


def _built_in(settings: Settings) -> dict[str, BuiltIn]:
    folder = settings.models()
    if folder is None:
        return built_in_models([], embed_tokenizer=None)
    return built_in_models(
        load_profiles(folder / "repository"),
        embed_tokenizer=folder / "weights" / "minilm" / "tokenizer.json",
    )
