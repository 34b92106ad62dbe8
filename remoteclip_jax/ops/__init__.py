"""Array operations that know nothing of CLIP or of detectors: boxes, matching, suppression, similarity, sampling,
convolution and batch normalisation. They are pure functions, or Flax modules that need no configuration of a run."""
