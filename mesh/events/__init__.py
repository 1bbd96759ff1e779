"""Events between services: topics, records, the outbox, the bus and consumers.

Every record is written in the transaction of the change it tells of, reaches
its topic at least once, and is handled by consumers that are idempotent by its
id. Only this package knows aiokafka.
"""
