"""Turns that go on for long, so that a fault meets them half way."""

from typing import Any

from soma.orchestrator.v1 import resources_pb2 as pb
from soma.orchestrator.v1 import service_pb2 as rpc_pb

from tests.support.wires import GrpcClient

TEXT = "Tell me about lists."
LONG: dict[str, Any] = {"max_tokens": 480, "min_tokens": 480, "temperature": 1.0, "seed": 1}
"""Options with which `TEXT` is answered at length."""


async def create(client: GrpcClient, **options: Any) -> pb.Turn:
    """Run a turn of the bootstrap persona to its end."""
    request = rpc_pb.CreateTurnRequest(
        session_id=await client.create_session("bootstrap"),
        input=rpc_pb.TurnInput(text=TEXT),
        options=rpc_pb.GenerationOptions(**options),
    )
    turn: pb.Turn = await client.turns.CreateTurn(request, metadata=client.metadata)
    return turn
