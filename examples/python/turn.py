"""Streams one turn through gRPC over TLS, and comes back when the stream breaks."""

from __future__ import annotations

import os
import sys
import time
import uuid
from pathlib import Path

import grpc
from soma.orchestrator.v1 import service_pb2, service_pb2_grpc

TRIES = 20


def main(question: str) -> None:
    """Ask `guide` one question and print the answer as it comes."""
    authority = Path(os.environ["SOMA_CA_FILE"]).read_bytes()
    credentials = grpc.composite_channel_credentials(
        grpc.ssl_channel_credentials(authority),
        grpc.access_token_call_credentials(os.environ["SOMA_API_KEY"]),
    )
    with grpc.secure_channel(os.environ["SOMA_GRPC_TARGET"], credentials) as channel:
        sessions = service_pb2_grpc.SessionsStub(channel)
        session = sessions.CreateSession(service_pb2.CreateSessionRequest(persona="guide"), timeout=10)
        stream(service_pb2_grpc.TurnsStub(channel), session.id, question)


def stream(turns: service_pb2_grpc.TurnsStub, session_id: str, question: str) -> None:
    """Follow one turn to its end; a repeat with the same request id is the same turn."""
    ask = service_pb2.StreamTurnRequest(
        session_id=session_id, input=service_pb2.TurnInput(text=question), request_id=str(uuid.uuid4())
    )
    turn_id, following = "", 0
    for attempt in range(TRIES):
        again = service_pb2.ResumeTurnRequest(session_id=session_id, turn_id=turn_id, from_seq=following)
        events = turns.ResumeTurn(again, timeout=120) if turn_id else turns.StreamTurn(ask, timeout=120)
        try:
            for event in events:
                if event.HasField("seq"):
                    following = event.seq + 1
                kind = event.WhichOneof("event")
                if kind == "accepted":
                    turn_id = event.accepted.turn_id
                elif kind == "delta":
                    print(event.delta.text, end="", flush=True)
                elif kind == "completed":
                    print(f"\n[{event.completed.finish_reason}, seq {event.seq}]")
                    return
                elif kind in {"refused", "failed"}:
                    raise SystemExit(f"{kind}: {getattr(event, kind).message}")
        except grpc.RpcError as error:
            if error.code() is not grpc.StatusCode.UNAVAILABLE:
                raise
            time.sleep(min(0.1 * 2**attempt, 2))
    raise SystemExit("the turn's stream could not be followed to its end")


if __name__ == "__main__":
    main(" ".join(sys.argv[1:]) or "What is SomaAgent?")
