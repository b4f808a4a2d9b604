"""Dense prediction tasks: one file each, found by the name registered in it."""
