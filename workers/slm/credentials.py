"""The keys of providers: asked of the slm service for each answer, kept nowhere."""

import grpc
import grpc.aio
from soma.slm.v1 import resources_pb2 as models_pb
from soma.slm.v1 import service_pb2 as slm_pb
from soma.slm.v1 import service_pb2_grpc as slm_rpc

from mesh.runtime import status
from mesh.runtime.errors import FailedPrecondition, Unavailable


class Credentials:
    """Asks for keys as the tenant whose turn it is."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        """Ask over `channel`."""
        self._stub = slm_rpc.CredentialsStub(channel)

    async def key_of(self, model: models_pb.Model) -> str:
        """Return the key for the model's address; empty where the provider wants none.

        Raises:
            FailedPrecondition: PROVIDER_REFUSED: there is no key for this model and address.
            Unavailable: the slm service does not answer.
        """
        if not model.has_api_key:
            return ""
        request = slm_pb.GetCredentialRequest(name=model.name, base_url=model.base_url)
        try:
            return (await self._stub.GetCredential(request, timeout=5.0)).api_key
        except grpc.aio.AioRpcError as error:
            failure = status.read(error)
            if failure.code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
                raise Unavailable(
                    "MODEL_UNAVAILABLE", f"the key of model {model.name} cannot be read now"
                ) from error
            raise FailedPrecondition(
                "PROVIDER_REFUSED", f"there is no key for model {model.name} at its address"
            ) from error
