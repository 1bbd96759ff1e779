"""The catalogue over mTLS: built-in profiles, a tenant's own, keys that never come back."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from soma.identity.v1 import service_pb2 as identity_pb
from soma.slm.v1 import resources_pb2 as models_pb
from soma.slm.v1 import service_pb2 as pb

from mesh.stack.settings import StackSettings
from tests.integration.slm.database import rows_of
from tests.support.identity import Identity, Owner, bearer, failure, new_owner
from tests.support.slm import KEY, Slm, creation

BUILT_IN = ["bootstrap", "embed", "guide"]


async def test_built_in_models_are_there_for_every_tenant(slm: Slm, owner: Owner) -> None:
    listed = await slm.models.ListModels(pb.ListModelsRequest(), metadata=owner.auth)
    assert [model.name for model in listed.models] == BUILT_IN
    by_name = {model.name: model for model in listed.models}
    assert by_name["guide"].task == models_pb.TASK_EXTRACT
    assert by_name["guide"].provider_model == "extract"
    assert by_name["bootstrap"].bootstrap
    assert by_name["bootstrap"].provider_model == "slm"
    assert "no meaning" in by_name["bootstrap"].description
    assert by_name["embed"].task == models_pb.TASK_EMBED
    assert all(model.built_in and model.slots > 0 for model in listed.models)


@pytest.mark.parametrize("name", BUILT_IN)
async def test_built_in_models_answer_their_check(slm: Slm, owner: Owner, name: str) -> None:
    health = await slm.models.CheckModel(pb.CheckModelRequest(name=name), metadata=owner.auth)
    assert (health.model, health.ready, health.message) == (name, True, "")
    assert 0 < health.latency_ms < 4000


async def test_built_in_models_stay(slm: Slm, owner: Owner) -> None:
    deleted = slm.models.DeleteModel(pb.DeleteModelRequest(name="guide"), metadata=owner.auth)
    assert (await failure(deleted)).reason == "FAILED_PRECONDITION"
    taken = slm.models.CreateModel(creation("guide"), metadata=owner.auth)
    assert (await failure(taken)).reason == "ALREADY_EXISTS"


async def test_a_profile_is_made_found_listed_and_deleted(
    slm: Slm, identity: Identity, operator: Owner
) -> None:
    owner = await new_owner(identity, operator)
    made = await slm.models.CreateModel(creation("mine"), metadata=owner.auth)
    assert (made.has_api_key, made.built_in, made.slots) == (True, False, 8)
    assert await slm.models.GetModel(pb.GetModelRequest(name="mine"), metadata=owner.auth) == made
    names = []
    token = ""
    while True:
        part = await slm.models.ListModels(
            pb.ListModelsRequest(page_size=2, page_token=token), metadata=owner.auth
        )
        names += [model.name for model in part.models]
        token = part.next_page_token
        if not token:
            break
    assert names == [*BUILT_IN, "mine"]
    await slm.models.DeleteModel(pb.DeleteModelRequest(name="mine"), metadata=owner.auth)
    gone = slm.models.GetModel(pb.GetModelRequest(name="mine"), metadata=owner.auth)
    assert (await failure(gone)).reason == "MODEL_NOT_FOUND"


async def test_a_repeat_of_a_creation_has_one_effect(slm: Slm, owner: Owner) -> None:
    request_id = uuid.uuid4().hex
    first = await slm.models.CreateModel(creation("once", request_id=request_id), metadata=owner.auth)
    again = await slm.models.CreateModel(creation("once", request_id=request_id), metadata=owner.auth)
    assert first == again
    other = creation("once", request_id=request_id, description="another")
    assert (await failure(slm.models.CreateModel(other, metadata=owner.auth))).reason == "REQUEST_ID_REUSED"
    same_name = slm.models.CreateModel(creation("once"), metadata=owner.auth)
    assert (await failure(same_name)).reason == "ALREADY_EXISTS"


async def test_another_tenant_sees_nothing_of_a_profile(
    slm: Slm, worker: Slm, owner: Owner, identity: Identity, operator: Owner
) -> None:
    await slm.models.CreateModel(creation("seen"), metadata=owner.auth)
    stranger = await new_owner(identity, operator)
    for call in (
        slm.models.GetModel(pb.GetModelRequest(name="seen"), metadata=stranger.auth),
        slm.models.DeleteModel(pb.DeleteModelRequest(name="seen"), metadata=stranger.auth),
        slm.models.CheckModel(pb.CheckModelRequest(name="seen"), metadata=stranger.auth),
        slm.inference.CountTokens(pb.CountTokensRequest(model="seen", texts=["x"]), metadata=stranger.auth),
        worker.credentials.GetCredential(
            pb.GetCredentialRequest(name="seen", base_url="https://api.example.com/v1"),
            metadata=(("x-soma-tenant", stranger.tenant),),
        ),
    ):
        failed = await failure(call)
        assert (failed.reason, failed.message) == ("MODEL_NOT_FOUND", "model seen does not exist")


async def test_a_key_is_sealed_at_rest_and_given_to_the_worker_for_its_own_address_only(
    slm: Slm, worker: Slm, owner: Owner, settings: StackSettings
) -> None:
    await slm.models.CreateModel(creation("sealed"), metadata=owner.auth)
    rows = [row for row in await rows_of(settings, owner.tenant, "models") if row["name"] == "sealed"]
    assert KEY.encode() not in rows[0]["sealed_api_key"]
    outbox = await rows_of(settings, owner.tenant, "outbox")
    assert outbox
    assert all(KEY.encode() not in row["payload"] for row in outbox)
    log = (settings.home.log / "slm.log").read_text()
    assert KEY not in log

    acting = (("x-soma-tenant", owner.tenant),)
    asked = pb.GetCredentialRequest(name="sealed", base_url="https://api.example.com/v1")
    assert (await worker.credentials.GetCredential(asked, metadata=acting)).api_key == KEY
    elsewhere = pb.GetCredentialRequest(name="sealed", base_url="https://attacker.example/v1")
    failed = await failure(worker.credentials.GetCredential(elsewhere, metadata=acting))
    assert failed.reason == "MODEL_NOT_FOUND"
    from_outside = slm.credentials.GetCredential(asked, metadata=(*owner.auth, *acting))
    assert (await failure(from_outside)).reason == "WORKLOAD_DENIED"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"base_url": "http://api.example.com/v1"}, "PROVIDER_REFUSED"),
        ({"base_url": "https://169.254.169.254/latest"}, "PROVIDER_REFUSED"),
        ({"base_url": "https://[::ffff:10.0.0.1]/v1"}, "PROVIDER_REFUSED"),
        ({"base_url": "https://localhost/v1"}, "PROVIDER_REFUSED"),
        ({"base_url": "https://10.1.2.3/v1"}, "PROVIDER_REFUSED"),
        ({"base_url": "https://user:word@api.example.com"}, "INVALID_ARGUMENT"),
        ({"base_url": "file:///etc/passwd"}, "INVALID_ARGUMENT"),
        ({"base_url": "gopher://x"}, "INVALID_ARGUMENT"),
        ({"name": "Not A Name"}, "INVALID_ARGUMENT"),
        ({"provider": 0}, "INVALID_ARGUMENT"),
        ({"provider": 99}, "INVALID_ARGUMENT"),
        ({"task": models_pb.TASK_EMBED}, "INVALID_ARGUMENT"),
        ({"provider_model": ""}, "INVALID_ARGUMENT"),
        ({"context_tokens": 0}, "INVALID_ARGUMENT"),
        ({"max_output_tokens": 9000}, "INVALID_ARGUMENT"),
        ({"provider": models_pb.PROVIDER_TRITON}, "INVALID_ARGUMENT"),
    ],
)
async def test_profiles_that_cannot_work_or_may_not_be_reached_are_refused(
    slm: Slm, owner: Owner, changes: dict[str, Any], reason: str
) -> None:
    failed = await failure(slm.models.CreateModel(creation("bad", **changes), metadata=owner.auth))
    assert failed.reason == reason, failed


async def test_a_model_that_does_not_answer_is_told_not_ready(slm: Slm, owner: Owner) -> None:
    absent = creation(
        "absent", provider=models_pb.PROVIDER_TRITON, provider_model="nosuch", base_url="", api_key=""
    )
    await slm.models.CreateModel(absent, metadata=owner.auth)
    health = await slm.models.CheckModel(pb.CheckModelRequest(name="absent"), metadata=owner.auth)
    assert not health.ready
    assert health.message == "model nosuch is not ready"


async def test_scopes_are_needed(slm: Slm, owner: Owner, identity: Identity) -> None:
    key = await identity.keys.CreateApiKey(
        identity_pb.CreateApiKeyRequest(display_name="narrow", scopes=["models.read"]), metadata=owner.auth
    )
    narrow = bearer(key.secret)
    assert (await slm.models.ListModels(pb.ListModelsRequest(), metadata=narrow)).models
    refused = slm.models.CreateModel(creation("narrow"), metadata=narrow)
    assert (await failure(refused)).reason == "SCOPE_MISSING"
    counted = slm.inference.CountTokens(pb.CountTokensRequest(model="guide", texts=["x"]), metadata=narrow)
    assert (await failure(counted)).reason == "SCOPE_MISSING"
