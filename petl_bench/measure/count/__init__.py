"""Counting parameters on the meta device: tables, closed forms, published claims, and the guard on every count."""
