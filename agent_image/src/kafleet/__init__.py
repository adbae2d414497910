"""Kafleet for agent developers."""
