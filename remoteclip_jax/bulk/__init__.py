"""Prediction in as many images as there are: finding them, results in shards, going on after a kill, several machines.

JAX is imported only by `prediction`; the other modules import it when they are called, or never.
"""
