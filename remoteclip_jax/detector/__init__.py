"""The context-guided open-vocabulary detector: encoder, decoder, heads, losses, postprocessing and inference.
It knows nothing of runs or training loops, which call `supervision.detection_loss` and `postprocess.find_objects`."""
