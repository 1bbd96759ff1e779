"""The rules of the catalogue: values in, values out."""
