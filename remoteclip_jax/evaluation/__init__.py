"""How well a model does on a split, and how to show it: accuracy, average precision, pictures, and report pages.
Apart from the zero-shot classifier it needs no model: it takes detections and annotations as values."""
