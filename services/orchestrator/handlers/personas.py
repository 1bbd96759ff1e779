"""soma.orchestrator.v1.Personas."""

from typing import Any

from soma.orchestrator.v1 import resources_pb2 as pb
from soma.orchestrator.v1 import service_pb2 as rpc_pb
from soma.orchestrator.v1 import service_pb2_grpc as rpc

from services.orchestrator.conversion import persona_message
from services.orchestrator.domain import paging
from services.orchestrator.domain.personas import BUILT_IN
from services.orchestrator.errors import bad_page_token, no_persona


class PersonasServicer(rpc.PersonasServicer):
    """The agents that are there for every tenant."""

    async def GetPersona(self, request: rpc_pb.GetPersonaRequest, context: Any) -> pb.Persona:
        """Return a persona."""
        persona = BUILT_IN.get(request.name)
        if persona is None:
            raise no_persona(request.name)
        return persona_message(persona)

    async def ListPersonas(
        self, request: rpc_pb.ListPersonasRequest, context: Any
    ) -> rpc_pb.ListPersonasResponse:
        """List the personas, by name."""
        try:
            place = paging.after("personas", request.page_token) or ""
        except ValueError as error:
            raise bad_page_token() from error
        limit = paging.page_size(request.page_size)
        found = [BUILT_IN[name] for name in sorted(BUILT_IN) if name > place]
        more = paging.token("personas", found[limit - 1].name) if len(found) > limit else ""
        return rpc_pb.ListPersonasResponse(personas=map(persona_message, found[:limit]), next_page_token=more)
