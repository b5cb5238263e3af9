"""Tests of gochan.diagnostics."""
