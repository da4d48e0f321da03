"""Reinforcement learning with a native post-decision state.

`environment` says what a simulator offers. `ppo.train` learns in one under a `ppo.PPO` or a
`pdppo.PDPPO`; `imitation.imitate` gives it a start from a teacher; `policies` acts, saves and
loads. Below them: `rollout` (experience), `advantages` (what it teaches), `networks`, and
`checkpoints` (a run as a file).
"""
