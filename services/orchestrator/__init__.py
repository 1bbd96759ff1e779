"""The orchestrator: conversations, and turns that survive any crash.

Decides whether a turn is accepted (policy, admission, budget), what its model
is asked (history, memories, passages, within the window), and what a turn's
state is. Owns sessions and turns. Emits `slm.requests`, `turns.events` and
`audit.records`; reads the turn log that the slm workers write. No state of a
turn lives in the process: any replica, of this version or the next, can go on.
"""
