"""Audit: what was done, by whom, and what allowed it.

Decides: the place of a record in its tenant's chain, and whether a chain is whole. Owns: the records (schema
`audit`), which nobody changes or deletes, itself included. Emits: nothing; it is where records end.
"""
