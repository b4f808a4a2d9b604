"""Decoders: from a pyramid to one task's prediction. One file each, one instance per task."""
