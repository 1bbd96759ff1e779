"""soma.orchestrator.v1.Sessions."""

from typing import Any

from google.protobuf.empty_pb2 import Empty
from soma.orchestrator.v1 import resources_pb2 as pb
from soma.orchestrator.v1 import service_pb2 as rpc_pb
from soma.orchestrator.v1 import service_pb2_grpc as rpc

from services.orchestrator.conversion import session_message
from services.orchestrator.sessions import Sessions


class SessionsServicer(rpc.SessionsServicer):
    """Conversations."""

    def __init__(self, sessions: Sessions) -> None:
        """Serve these sessions."""
        self._sessions = sessions

    async def CreateSession(self, request: rpc_pb.CreateSessionRequest, context: Any) -> pb.Session:
        """Create a session."""
        created = await self._sessions.create(persona=request.persona, display_name=request.display_name)
        return session_message(created)

    async def GetSession(self, request: rpc_pb.GetSessionRequest, context: Any) -> pb.Session:
        """Return a session."""
        return session_message(await self._sessions.find(request.session_id))

    async def ListSessions(
        self, request: rpc_pb.ListSessionsRequest, context: Any
    ) -> rpc_pb.ListSessionsResponse:
        """List sessions."""
        page = await self._sessions.page(size=request.page_size, token=request.page_token)
        return rpc_pb.ListSessionsResponse(
            sessions=map(session_message, page.items), next_page_token=page.next_token
        )

    async def DeleteSession(self, request: rpc_pb.DeleteSessionRequest, context: Any) -> Empty:
        """Delete a session."""
        await self._sessions.delete(request.session_id)
        return Empty()
