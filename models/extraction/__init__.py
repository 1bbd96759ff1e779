"""Answers from passages: sentences, evidence, the fitted scores, and the choice. Pure; vectors are an argument."""
