"""Where memory keeps things: rows in Postgres (the source of truth), vectors in Qdrant.

No method takes a tenant. Each reads it from the call in progress (`tenancy`), so that none can be
called without one, and no argument of a caller reaches another tenant's rows or points.
"""
