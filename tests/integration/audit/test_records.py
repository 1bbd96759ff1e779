"""`soma.audit.v1.Records` over mTLS: who may append, who may read."""

from __future__ import annotations

from typing import TypeAlias

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from soma.audit.v1 import service_pb2 as pb
from soma.audit.v1 import service_pb2_grpc as rpc
from soma.audit.v1.resources_pb2 import AuditRecord

from mesh.runtime.ids import new_id
from tests.integration.audit.conftest import MakeToken
from tests.support.identity import failure

Stub: TypeAlias = "rpc.RecordsAsyncStub"


def request(tenant: str, count: int = 1) -> pb.AppendRecordsRequest:
    records = [
        AuditRecord(id=new_id("aud"), tenant=tenant, time=Timestamp(seconds=1), action=f"a.{place}")
        for place in range(count)
    ]
    return pb.AppendRecordsRequest(records=records)


def acting_for(tenant: str) -> tuple[tuple[str, str], ...]:
    return (("x-soma-tenant", tenant),)


async def test_a_worker_appends_and_the_tenant_reads(
    worker: Stub, edge: Stub, tenant: str, token: MakeToken
) -> None:
    appended = await worker.AppendRecords(request(tenant, 3), metadata=acting_for(tenant))
    mine = await token("audit.read")
    listed = await edge.ListRecords(pb.ListRecordsRequest(page_size=2), metadata=mine)
    assert list(listed.records) == list(appended.records[:2])
    rest = await edge.ListRecords(
        pb.ListRecordsRequest(page_size=2, page_token=listed.next_page_token), metadata=mine
    )
    assert (list(rest.records), rest.next_page_token) == (list(appended.records[2:]), "")
    one = await edge.GetRecord(pb.GetRecordRequest(record_id=appended.records[1].record.id), metadata=mine)
    assert one == appended.records[1]
    verified = await edge.VerifyChain(pb.VerifyChainRequest(), metadata=mine)
    assert (verified.valid, verified.record_count) == (True, 3)
    assert verified.head_hash == appended.records[2].hash


async def test_another_tenants_record_is_like_one_that_does_not_exist(
    worker: Stub, edge: Stub, tenant: str, token: MakeToken
) -> None:
    appended = await worker.AppendRecords(request(tenant), metadata=acting_for(tenant))
    theirs = await token("audit.read", of=new_id("tnt"))
    wanted = pb.GetRecordRequest(record_id=appended.records[0].record.id)
    absent = pb.GetRecordRequest(record_id=new_id("aud"))
    refused = await failure(edge.GetRecord(wanted, metadata=theirs))
    nothing = await failure(edge.GetRecord(absent, metadata=theirs))
    assert refused.code is nothing.code is grpc.StatusCode.NOT_FOUND
    assert not (await edge.ListRecords(pb.ListRecordsRequest(), metadata=theirs)).records


async def test_nobody_appends_with_a_token_nor_through_the_edge(
    worker: Stub, edge: Stub, tenant: str, token: MakeToken
) -> None:
    through_the_edge = await failure(edge.AppendRecords(request(tenant), metadata=acting_for(tenant)))
    assert through_the_edge.reason == "WORKLOAD_DENIED"
    without_tenant = await failure(worker.AppendRecords(request(tenant)))
    assert without_tenant.code in (
        grpc.StatusCode.UNAUTHENTICATED,
        grpc.StatusCode.PERMISSION_DENIED,
        grpc.StatusCode.INVALID_ARGUMENT,
    )
    for_another = await failure(worker.AppendRecords(request(new_id("tnt")), metadata=acting_for(tenant)))
    assert for_another.reason == "TENANT_MISMATCH"


async def test_reading_takes_the_scope(edge: Stub, token: MakeToken) -> None:
    refused = await failure(edge.ListRecords(pb.ListRecordsRequest(), metadata=await token("turns.read")))
    assert refused.reason == "SCOPE_MISSING"
    nobody = await failure(edge.ListRecords(pb.ListRecordsRequest()))
    assert nobody.code is grpc.StatusCode.UNAUTHENTICATED


@pytest.mark.parametrize(
    "page_token", ["x", "AAAA", "YWZ0ZXIgLTE=", "YWZ0ZXIgMTAwMDAwMDAwMDAwMDAwMDAwMDAwMDA="]
)
async def test_a_page_token_of_somewhere_else_is_refused(
    edge: Stub, token: MakeToken, page_token: str
) -> None:
    refused = await failure(
        edge.ListRecords(pb.ListRecordsRequest(page_token=page_token), metadata=await token("audit.read"))
    )
    assert refused.code is grpc.StatusCode.INVALID_ARGUMENT
