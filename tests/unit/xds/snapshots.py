"""A fixed snapshot: what goldens and dialogues are made from."""

from __future__ import annotations

from mesh.envoy.contract import Binding, Contract, Method
from mesh.envoy.snapshot import Address, Credentials, EdgeSettings, Endpoint, Snapshot

CREATE = Method(
    service="soma.orchestrator.v1.Sessions",
    name="CreateSession",
    owner="orchestrator",
    public=False,
    scope="sessions.write",
    repeatable=True,
    streams=False,
    request="soma.orchestrator.v1.CreateSessionRequest",
    bindings=(Binding("POST", "/v1/sessions", "*"),),
)
STREAM = Method(
    service="soma.orchestrator.v1.Turns",
    name="StreamTurn",
    owner="orchestrator",
    public=False,
    scope="turns.create",
    repeatable=True,
    streams=True,
    request="soma.orchestrator.v1.StreamTurnRequest",
    bindings=(Binding("POST", "/v1/sessions/{session_id}/turns:stream", "*"),),
)
KEYS = Method(
    service="soma.identity.v1.Trust",
    name="GetJwks",
    owner="identity",
    public=True,
    scope="",
    repeatable=True,
    streams=False,
    request="soma.identity.v1.GetJwksRequest",
    bindings=(Binding("GET", "/.well-known/jwks.json", ""),),
)
CHAT = Method(
    service="soma.gateway.v1.OpenAI",
    name="CreateChatCompletion",
    owner="gateway",
    public=False,
    scope="turns.create",
    repeatable=False,
    streams=True,
    request="google.api.HttpBody",
    bindings=(Binding("POST", "/v1/chat/completions", "*"),),
)
CONTRACT = Contract(
    methods=(CREATE, STREAM, KEYS, CHAT),
    descriptors=b"descriptors",
    shapes={
        "soma.orchestrator.v1.CreateSessionRequest": {"persona": "s", "request_id": "s", "requestId": "s"},
        "soma.orchestrator.v1.StreamTurnRequest": {"input": "soma.orchestrator.v1.TurnInput"},
        "soma.orchestrator.v1.TurnInput": {"text": "s"},
    },
)
SNAPSHOT = Snapshot(
    contract=CONTRACT,
    edge=EdgeSettings(
        http=Address("127.0.0.1", 18000),
        tls=Address("0.0.0.0", 18001),
        access_log="/var/log/soma/edge-access.log",
        collector=Address("127.0.0.1", 4317),
        trace_percent=1.0,
    ),
    credentials=Credentials(b"chain", b"key", b"root"),
    endpoints=(
        Endpoint("identity", "identity", "stable", Address("127.0.0.1", 18020)),
        Endpoint("orchestrator", "orchestrator", "stable", Address("127.0.0.1", 18022)),
        Endpoint("orchestrator-2", "orchestrator", "stable", Address("127.0.0.1", 18041), draining=True),
        Endpoint("orchestrator-canary", "orchestrator", "canary", Address("127.0.0.1", 18040)),
        Endpoint("worker-slm", "worker-slm", "stable", Address("127.0.0.1", 18027)),
    ),
    canary_percent=(("orchestrator", 10),),
    revoked=("tok_1", "tok_2"),
)
