"""Scaling records as files, tables and figures."""
