"""What is served: each handler converts, calls one operation, converts back."""
