"""The command line: parses, calls one domain function, renders what it returns."""
