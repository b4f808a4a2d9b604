"""The version of the pictures."""

SCENES_VERSION = 1
"""Raised whenever a change moves a pixel or a label of a released picture; digests of some of them guard it."""

CONTENT_HASH = f"scenes/{SCENES_VERSION}"
"""What identifies the pictures and labels. Their code may change as long as they do not."""

FURTHER_VERSION = 1
"""Raised whenever a change moves a further label; the pictures and the first labels do not depend on it."""

FURTHER_HASH = f"{CONTENT_HASH}/further/{FURTHER_VERSION}"
"""What identifies the pictures with their further labels."""
