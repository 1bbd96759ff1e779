"""A service for tests of the runtime: its contract, its servicer, and a process that serves it."""
