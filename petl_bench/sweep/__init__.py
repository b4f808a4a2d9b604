"""Many runs: planned into a store, claimed and run one process each, on this machine or on others that share it."""
