"""Benchmarks: ours and the peer in turn in one run."""
