"""Answers from passages: sentences, evidence, fitted scores, choice. Pure; vectors are an argument."""
