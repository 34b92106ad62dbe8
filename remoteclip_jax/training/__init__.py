"""Training whatever a task says: the loop, the step, the state, the optimizer, and how many steps fit into a time.

It names no task; a `task.Task` tells it what to read and a `workload.Workload` what to train.
"""
