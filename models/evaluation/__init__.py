"""Measures the extractive answerer on questions that were not used to fit it, and fits it.

Three sets of questions: `development` (fitted on), `held_out` (documents that are not ours), `project`. What
runs inside Triton imports nothing of ours, so retrieval and answering are arguments here;
``python -m tests.bench.answers`` gives memory's real retrieval and the served model on a running stack.
"""
