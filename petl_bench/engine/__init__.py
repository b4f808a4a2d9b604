"""The engine: build, train, evaluate, and ``run``, which reads like the line of the design."""
