"""Records: what a run or a measurement leaves, and the store that keeps it. No torch."""
