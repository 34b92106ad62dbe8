"""Reading and writing files safely: JSON and npz that may be damaged, atomic writes, and paths for Orbax.
Knows nothing of data sets, models or runs."""
