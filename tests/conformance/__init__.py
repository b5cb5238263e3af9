"""Behaviours of Go's own channel and select tests, one module per Go file."""
