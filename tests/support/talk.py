"""Turns that go on for long: the bootstrap model often ends soon, with some seeds it does not."""

from typing import Any

from soma.orchestrator.v1 import resources_pb2 as pb
from soma.orchestrator.v1 import service_pb2 as rpc_pb

from tests.bench.driver import GrpcClient

TEXT = "Tell me about lists."
_LONG = 300
_SEEDS = 80


async def create(client: GrpcClient, **options: Any) -> pb.Turn:
    """Run a turn of the bootstrap persona to its end."""
    request = rpc_pb.CreateTurnRequest(
        session_id=await client.create_session("bootstrap"),
        input=rpc_pb.TurnInput(text=TEXT),
        options=rpc_pb.GenerationOptions(**options),
    )
    turn: pb.Turn = await client.turns.CreateTurn(request, metadata=client.metadata)
    return turn


async def long_options(client: GrpcClient) -> dict[str, Any]:
    """Return options with which `TEXT` is answered at length: the model repeats itself by its seed."""
    for seed in range(1, _SEEDS):
        options = {"max_tokens": 480, "temperature": 1.0, "seed": seed}
        if (await create(client, **options)).usage.output_tokens > _LONG:
            return options
    raise AssertionError("the model never said much")
