"""The slm worker: takes turns from `slm.requests` and writes the model's words into their logs.

Decides when a turn ends and why (stop, length, budget, cancel, deadline,
failure), and how a turn goes on that another worker left. Owns nothing but the
leases that it holds. Emits `slm.responses`. It refuses to know sessions, users
and policies: a request carries all that it needs.
"""
