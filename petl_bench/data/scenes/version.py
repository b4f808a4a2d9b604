"""The version of the pictures."""

SCENES_VERSION = 1
"""Raised whenever a change moves a pixel or a label of a released picture; digests of some of them guard it."""

CONTENT_HASH = f"scenes/{SCENES_VERSION}"
"""What identifies the pictures and labels. Their code may change as long as they do not."""
