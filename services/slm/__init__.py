"""Slm: the catalogue of models.

Decides which model a name stands for, whether it answers, how many tokens a text is, and
whether an address may be a provider's. Owns the profiles that tenants make (schema
`slm`) with their providers' keys, sealed. Emits audit records of each change on
`audit.records`. Generation itself runs in `workers/slm`.
"""
