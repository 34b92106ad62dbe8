"""Training of any task: the loop, the step, the state, the optimizer, and the fit of the step count to a given time.

The package names no task. A `task.Task` says what to read, and a `workload.Workload` what to train.
"""
