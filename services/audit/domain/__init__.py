"""The rules of the audit log: values in, values out."""
