"""The edge that OpenAI's clients know, and the pages about the API itself.

Decides: nothing about a turn; it translates OpenAI's shapes to sessions, turns,
models and embeddings, and whether a tenant is within its rate limit.
Owns: no data but the counters of the rate limits, in Redis.
Emits: nothing; the services that it calls write their own records.
"""
