"""Tests of SingleFlight."""
