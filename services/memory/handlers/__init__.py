"""The services of memory: convert, call one operation, convert back."""
