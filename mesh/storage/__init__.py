"""Postgres: the pool, transactions that carry their tenant, and the migrator.

Only this package and each service's `store.py` know asyncpg.
"""

from mesh.storage.database import Connection, Database

__all__ = ["Connection", "Database"]
