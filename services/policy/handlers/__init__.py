"""The RPCs of the policy service: convert, ask the domain, convert back."""
