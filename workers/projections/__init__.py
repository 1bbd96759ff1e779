"""Projections: makes of events what other services keep.

Decides: which records travel together, and which turn is worth remembering. Owns: nothing; its place in a
topic is the broker's. Emits: audit records to `soma.audit.v1.Records/AppendRecords`, finished turns to
`soma.memory.v1.Memories/RememberTurn`.
"""
