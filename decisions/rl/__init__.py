"""Reinforcement learning with a native post-decision state."""
