"""Measures Halfpipe and its peers side by side. Standard library only: the peers have environments of their own."""
