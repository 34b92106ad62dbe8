"""Annotation formats: DIOR and Pascal VOC, COCO, YOLO, DOTA, and class folders.
Each reader turns one split on disk into a `data.types.Dataset`; `data.reading` chooses the reader."""
