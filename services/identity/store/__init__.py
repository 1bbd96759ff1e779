"""All SQL of identity (schema `identity`)."""
