"""Look at a data set before it is trained on, and write a miniature of one."""
