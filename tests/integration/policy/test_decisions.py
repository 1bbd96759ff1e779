"""`soma.policy.v1.Decisions` over mTLS."""

from __future__ import annotations

import grpc
import pytest
from soma.audit.v1.resources_pb2 import AuditRecord
from soma.policy.v1 import resources_pb2
from soma.policy.v1 import service_pb2 as pb

from mesh.storage import Database
from tests.integration.policy.conftest import Decisions, MakeToken
from tests.support.identity import failure


async def test_a_token_may_do_what_its_scopes_name(decisions: Decisions, token: MakeToken) -> None:
    mine = await token("policy.evaluate", "turns.create")
    allowed = (await decisions.Evaluate(pb.EvaluateRequest(action="turns.create"), metadata=mine)).decision
    denied = (await decisions.Evaluate(pb.EvaluateRequest(action="keys.write"), metadata=mine)).decision
    assert (allowed.allowed, allowed.rule_id) == (True, "scope.turns.create")
    assert (denied.allowed, denied.rule_id) == (False, "")
    assert allowed.id.startswith("dec_")
    assert allowed.id != denied.id
    assert "allows keys.write" in denied.reason


async def test_an_explanation_tells_what_each_rule_said(decisions: Decisions, token: MakeToken) -> None:
    mine = await token("policy.explain")
    answer = await decisions.Explain(pb.ExplainRequest(action="keys.write"), metadata=mine)
    (rule,) = answer.rules
    assert (rule.rule_id, rule.matched) == ("scope.keys.write", False)
    assert rule.effect == resources_pb2.EFFECT_ALLOW
    assert rule.failed_on == "scopes: none of keys.write"


async def test_each_answer_leaves_a_record_without_what_the_attributes_say(
    decisions: Decisions, token: MakeToken, database: Database, tenant: str
) -> None:
    mine = await token("policy.evaluate")
    question = pb.EvaluateRequest(action="keys.write", attributes={"resource.owner": "secret-words"})
    decision = (await decisions.Evaluate(question, metadata=mine)).decision
    async with database.transaction(tenant=tenant) as connection:
        rows = await connection.fetch("select payload from outbox where topic = 'audit.records'")
    (record,) = [AuditRecord.FromString(row["payload"]) for row in rows]
    assert (record.action, record.resource, record.outcome) == ("policy.evaluate", "keys.write", "denied")
    assert (record.decision_id, record.tenant) == (decision.id, tenant)
    assert record.details["attributes"] == "resource.owner"
    assert b"secret-words" not in record.SerializeToString()


@pytest.mark.parametrize(
    "attributes", [{"principal.kind": "user"}, {"persona": "guide"}, {"resource.a": "x" * 5000}]
)
async def test_attributes_that_no_caller_may_give_are_refused(
    decisions: Decisions, token: MakeToken, attributes: dict[str, str]
) -> None:
    request = pb.EvaluateRequest(action="turns.create", attributes=attributes)
    refused = await failure(decisions.Evaluate(request, metadata=await token("policy.evaluate")))
    assert refused.code is grpc.StatusCode.INVALID_ARGUMENT
    assert refused.violations[0][0] == "attributes"


async def test_asking_takes_a_token_with_the_scope(decisions: Decisions, token: MakeToken) -> None:
    request = pb.EvaluateRequest(action="turns.create")
    nobody = await failure(decisions.Evaluate(request))
    assert nobody.reason == "TOKEN_MISSING"
    stranger = await failure(decisions.Evaluate(request, metadata=await token("turns.create")))
    assert stranger.reason == "SCOPE_MISSING"
