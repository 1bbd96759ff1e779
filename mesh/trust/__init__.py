"""Who a bearer token stands for, told from memory.

Owns the verification of SomaAgent's tokens (ES256 JWTs, RFC 7519 and RFC 9068) and
the stream of public keys and revocations from the identity service. It refuses every
token while it has no keys, or while what it knows is older than a bound: a revoked
token must not live on where the news of its end cannot arrive.

    verifier = join_trust(process)   # mesh.trust.wiring
"""
