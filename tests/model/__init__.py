"""The library held against small sequential models."""
