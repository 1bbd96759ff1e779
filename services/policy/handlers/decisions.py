"""`soma.policy.v1.Decisions`."""

from collections.abc import Mapping

from soma.policy.v1 import resources_pb2 as pb
from soma.policy.v1 import service_pb2, service_pb2_grpc

from mesh.policy import BundleStore, Decision, RuleTrace
from mesh.policy.decisions import caller
from mesh.runtime.hooks import ServicerContext
from services.policy.domain import questions
from services.policy.domain.questions import Question
from services.policy.events import AuditTrail


class Decisions(service_pb2_grpc.DecisionsServicer):
    """Decides and explains for the caller's own principal."""

    def __init__(self, *, store: BundleStore, trail: AuditTrail) -> None:
        """Take the bundle in force and where questions are recorded."""
        self._store = store
        self._trail = trail

    async def Evaluate(
        self, request: service_pb2.EvaluateRequest, context: ServicerContext
    ) -> service_pb2.EvaluateResponse:
        """Decide."""
        del context
        question = _question(request.action, request.attributes)
        decision = questions.answer(self._store, question)
        await self._trail.record("policy.evaluate", question, decision)
        return service_pb2.EvaluateResponse(decision=_decision(decision))

    async def Explain(
        self, request: service_pb2.ExplainRequest, context: ServicerContext
    ) -> service_pb2.ExplainResponse:
        """Decide and tell what each rule said."""
        del context
        question = _question(request.action, request.attributes)
        decision, traces = questions.explain(self._store, question)
        await self._trail.record("policy.explain", question, decision)
        return service_pb2.ExplainResponse(decision=_decision(decision), rules=map(_trace, traces))


def _question(action: str, attributes: Mapping[str, str]) -> Question:
    return Question(caller(), action, dict(attributes))


def _decision(decision: Decision) -> pb.Decision:
    return pb.Decision(
        id=decision.id,
        allowed=decision.allowed,
        policy_version=decision.policy_version,
        rule_id=decision.rule_id,
        reason=decision.reason,
    )


def _trace(trace: RuleTrace) -> pb.RuleTrace:
    return pb.RuleTrace(
        rule_id=trace.rule.id,
        effect=trace.rule.effect.value,
        matched=trace.matched,
        failed_on=trace.failed_on,
    )
