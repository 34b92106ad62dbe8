"""The tasks. Each one is a folder with its settings, batches, loss, evaluation and report; `registry` lists them.

The modules beside them work with any task: configuration, training, evaluation, loading, reports.
"""
