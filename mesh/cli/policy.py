"""`soma policy`: what your key may do, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from mesh.cli.client import SECONDS, edge
from mesh.cli.failures import Exit
from mesh.cli.memory import labels_of
from mesh.cli.output import Cell, Output, OutputOption, say, show, show_rows

if TYPE_CHECKING:
    from soma.policy.v1 import resources_pb2 as pb

app = typer.Typer(no_args_is_help=True, help="Ask the policy in force what may be done, and why.")
ActionArgument = Annotated[str, typer.Argument(help="What is to be done, such as turns.create.")]
AttributeOption = Annotated[
    list[str] | None,
    typer.Option("--attribute", "-a", help="What is known, such as resource.persona=guide; repeatable."),
]


def _effect(rule: pb.RuleTrace) -> str:
    from soma.policy.v1 import resources_pb2 as pb

    return pb.Effect.Name(rule.effect).removeprefix("EFFECT_").lower()


_DECISION: tuple[Cell, ...] = (
    ("allowed", lambda row: "yes" if row.allowed else "no"),
    ("reason", lambda row: row.reason),
    ("rule", lambda row: row.rule_id or "none"),
    ("version", lambda row: row.policy_version),
    ("decision", lambda row: row.id),
)
_RULES: tuple[Cell, ...] = (
    ("rule", lambda row: row.rule_id),
    ("effect", _effect),
    ("matched", lambda row: "yes" if row.matched else "no"),
    ("failed on", lambda row: row.failed_on),
)


@app.command()
def evaluate(
    action: ActionArgument, attribute: AttributeOption = None, output: OutputOption = Output.TABLE
) -> None:
    """Decide for your own key; the exit code is 5 where it is denied."""
    attributes = labels_of(attribute)
    with edge() as open_edge:
        from soma.policy.v1 import service_pb2, service_pb2_grpc

        request = service_pb2.EvaluateRequest(action=action, attributes=attributes)
        stub = open_edge.stub(service_pb2_grpc.DecisionsStub)
        decision = stub.Evaluate(request, timeout=SECONDS).decision
        show(decision, output, _DECISION)
        if not decision.allowed:
            raise typer.Exit(int(Exit.DENIED))


@app.command()
def explain(
    action: ActionArgument, attribute: AttributeOption = None, output: OutputOption = Output.TABLE
) -> None:
    """Decide for your own key and tell what each rule that speaks of the action said."""
    attributes = labels_of(attribute)
    with edge() as open_edge:
        from soma.policy.v1 import service_pb2, service_pb2_grpc

        request = service_pb2.ExplainRequest(action=action, attributes=attributes)
        answer = open_edge.stub(service_pb2_grpc.DecisionsStub).Explain(request, timeout=SECONDS)
        if output is Output.TABLE:
            say(answer.decision.reason)
            show_rows(answer.rules, output, _RULES)
        else:
            show(answer, output)
