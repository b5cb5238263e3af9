"""The documentation: its programs run, and its reference is complete."""
