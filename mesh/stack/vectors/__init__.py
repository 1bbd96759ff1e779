"""The local vector server: Qdrant's gRPC protocol over Qdrant's own engine, in process.

Owns a data folder with one folder for each collection. Refuses, with UNIMPLEMENTED, every field of
a request that it does not honour: nothing is ever dropped in silence. A real Qdrant takes its place
by address (`SOMA_QDRANT_URL`), because the clients are Qdrant's own.

The engine holds the GIL in every call, so calls run inline in the event loop: a thread would gain
nothing (measured; see `docs/adr`).
"""
