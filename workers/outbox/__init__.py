"""Publishes the outbox rows that a crash or an outage left behind.

Decides: when a row counts as left behind, and when a published one may go.
Owns: no table; it may read, mark and delete rows of every `<schema>.outbox`.
Emits: the records that those rows hold, to the topics that they name.
"""
