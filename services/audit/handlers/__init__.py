"""The RPCs of the audit service: convert, ask the domain, convert back."""
