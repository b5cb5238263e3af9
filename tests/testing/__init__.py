"""Tests of gochan.testing."""
