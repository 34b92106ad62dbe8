"""Writers of data sets, one file a format: COCO, YOLO, VOC in DIOR's flat layout, and DOTA. `convert.dataset` reads a
data set with the project's own readers, and hands the images and annotations to one of these."""
