"""What `detect` writes about images: pictures, and detections in several formats, on maps too where an image has a
place on Earth."""
