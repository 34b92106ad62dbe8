"""Images with captions, for CLIP's own training and for retrieval: JSON, tables and tar shards."""
