"""What runs inside Triton, and what makes it: engine, model repository, converters, the bootstrap model.

Everything here runs in Triton's own virtual environment (requirements/triton.lock). Two modules know the
standard library only and may be imported by services: `models.prompting` (the form of an extraction prompt)
and `models.profiles` (names, windows and tokenizers of the models that a tree serves).
"""
