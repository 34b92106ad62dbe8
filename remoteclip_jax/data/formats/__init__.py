"""Annotation formats: DIOR and Pascal VOC, COCO, YOLO, and class folders.
Each reader turns one split on disk into a `data.types.Dataset`; `data.reading` chooses the reader."""
