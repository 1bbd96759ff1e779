"""Measures the extractive answerer on questions that were not used to fit it.

``python -m models.evaluation`` prints the table of the model card, ``python -m models.evaluation.fit`` fits
the scores. Three sets of questions: `development` (fitted on), `held_out` (documents that are not ours),
`project`.
"""
