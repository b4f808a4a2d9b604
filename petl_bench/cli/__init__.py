"""The command line: all that parses and prints."""
