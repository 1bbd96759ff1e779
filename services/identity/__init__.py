"""Identity: who somebody is.

Decides whether a password, a refresh token or a key stands for somebody, which
scopes a token carries, and which key signs it. Owns tenants, users, service
accounts, API keys, refresh tokens, signing keys and revocations (schema
`identity`), and the counters of failed sign-ins (Redis). Emits
`soma.identity.v1.IdentityEvent` on `identity.events`, audit records of each change
and each sign-in on `audit.records`, and keys and revocations to every service on
`Trust/WatchTrust`.
"""
