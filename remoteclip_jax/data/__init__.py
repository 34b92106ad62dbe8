"""Data sets: reading images and annotations in the formats that users have, splits, and samples for training.
Imports only `errors`, `printable`, `files`, `runtime` and `ops`; nothing here depends on a model or a task."""
