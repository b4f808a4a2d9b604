"""Cost against the number of tasks: operations, time and memory, fitted and labelled."""
