"""Measuring: ``count`` says what there is by counting, ``cost`` what it takes by timing."""
