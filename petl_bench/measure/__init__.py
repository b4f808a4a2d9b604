"""Measuring: parameters, and what a task costs."""
