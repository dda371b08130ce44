"""Runs as arrays: what the chapters of a report are computed from."""
