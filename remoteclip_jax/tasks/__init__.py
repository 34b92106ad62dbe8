"""The tasks: each is one folder with its settings, batches, loss, evaluation and report; `registry` lists them.

What works on any task is here beside them: settings, training, evaluation, loading.
"""
