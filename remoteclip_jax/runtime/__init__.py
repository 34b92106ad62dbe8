"""What a process needs before and around its computations: devices, memory, and the cache of compiled programs.
Nothing here knows of models or of data."""
