"""The model profiles, as the slm service tells them, remembered for a minute."""

import time
from typing import Final

import grpc
import grpc.aio
from soma.slm.v1 import resources_pb2 as models_pb
from soma.slm.v1 import service_pb2 as slm_pb
from soma.slm.v1 import service_pb2_grpc as slm_rpc

from mesh.runtime import status
from mesh.runtime.errors import NotFound
from services.orchestrator.errors import from_remote

_FRESH_SECONDS: Final = 60.0
_MOST: Final = 4096


class Catalogue:
    """Looks profiles up by tenant and name."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        """Ask over `channel`."""
        self._stub = slm_rpc.ModelsStub(channel)
        self._known: dict[tuple[str, str], tuple[float, models_pb.Model]] = {}

    async def model(self, tenant: str, name: str) -> models_pb.Model:
        """Return a profile.

        Raises:
            NotFound: MODEL_NOT_FOUND.
            Unavailable: the slm service does not answer.
        """
        known = self._known.get((tenant, name))
        if known is not None and time.monotonic() - known[0] < _FRESH_SECONDS:
            return known[1]
        try:
            model = await self._stub.GetModel(slm_pb.GetModelRequest(name=name), timeout=3.0)
        except grpc.aio.AioRpcError as error:
            failure = status.read(error)
            if failure.code is grpc.StatusCode.NOT_FOUND:
                raise NotFound("MODEL_NOT_FOUND", f"model {name} does not exist") from error
            if known is not None and failure.code is grpc.StatusCode.UNAVAILABLE:
                return known[1]  # a profile of a minute ago serves while slm restarts
            raise from_remote("slm", error) from error
        if len(self._known) >= _MOST:
            self._known.clear()
        self._known[tenant, name] = (time.monotonic(), model)
        return model


def queue_of(tenant: str, model: models_pb.Model) -> str:
    """Name the queue of a model: the built-in ones are shared by all tenants."""
    return model.name if model.built_in else f"{tenant}:{model.name}"
