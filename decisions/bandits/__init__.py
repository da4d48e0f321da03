"""Batch contextual bandits: exploration, oracles, off-policy evaluation."""
