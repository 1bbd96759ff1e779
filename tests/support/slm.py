"""Slm from the outside."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import grpc.aio
from soma.slm.v1 import resources_pb2 as models_pb
from soma.slm.v1 import service_pb2 as pb
from soma.slm.v1 import service_pb2_grpc as rpc

KEY = "sk-the-key-of-the-provider"


@dataclass(frozen=True)
class Slm:
    """The stubs of one workload's channel to slm."""

    channel: grpc.aio.Channel

    @property
    def models(self) -> rpc.ModelsAsyncStub:
        return rpc.ModelsStub(self.channel)

    @property
    def inference(self) -> rpc.InferenceAsyncStub:
        return rpc.InferenceStub(self.channel)

    @property
    def credentials(self) -> rpc.CredentialsAsyncStub:
        return rpc.CredentialsStub(self.channel)


def creation(
    named: str, /, *, request_id: str = "", api_key: str = KEY, **changes: Any
) -> pb.CreateModelRequest:
    """A request for a profile of an OpenAI-compatible provider, changed."""
    fields: dict[str, Any] = {
        "name": named,
        "provider": models_pb.PROVIDER_OPENAI,
        "task": models_pb.TASK_GENERATE,
        "provider_model": "gpt-4o",
        "base_url": "https://api.example.com/v1",
        "context_tokens": 8192,
        "max_output_tokens": 1024,
        "description": "elsewhere",
    }
    model = models_pb.Model(**{**fields, **changes})
    return pb.CreateModelRequest(model=model, api_key=api_key, request_id=request_id)
