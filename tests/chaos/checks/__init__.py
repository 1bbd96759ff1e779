"""The invariants, one function each: pure, from a journal and what the platform holds to violations."""
