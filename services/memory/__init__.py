"""What agents know: memories of conversations, passages of documents.

Decides: what is near to a query, what of a turn is remembered, how a document is cut.
Owns: memories, documents and passages (Postgres), their vectors (Qdrant).
Emits: `memory.events` and audit records of every change, through its outbox.
"""
