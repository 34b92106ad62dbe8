"""A data set and its detections in COCO's JSON, with the user's own ids, so that any tool can score the files."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from remoteclip_jax.data.types import Dataset
from remoteclip_jax.detector.detections import Detections
from remoteclip_jax.evaluation.truth import annotated_boxes, annotation, valid_mask


class Ids(NamedTuple):
    """The ids of all images and of all classes."""

    images: Sequence[int | str]
    categories: Sequence[int]


def own_ids(dataset: Dataset) -> Ids:
    """The ids in the user's file, whatever their type.

    Images are numbered from 1 if the file has no ids or uses one twice; classes are numbered from 1 if it has no ids.
    """
    stored = [example.annotations.image_id for example in dataset.examples if example.annotations is not None]
    images = stored if len(set(stored)) == len(dataset) else range(1, len(dataset) + 1)
    return Ids(images, dataset.category_ids or range(1, len(dataset.classes) + 1))


def plain_ids(dataset: Dataset) -> Ids:
    """Numbers from 1, which pycocotools can use whatever the user's ids are.

    Images are numbered in the order of the user's ids, by which pycocotools sorts detections of equal score.
    """
    own: Any = own_ids(dataset).images
    order = list(range(len(own)))
    if len({type(number) for number in own}) == 1:
        order.sort(key=own.__getitem__)
    numbers = {index: number for number, index in enumerate(order, 1)}
    return Ids([numbers[index] for index in range(len(own))], range(1, len(dataset.classes) + 1))


def coco_ground_truth(dataset: Dataset, ids: Ids | None = None) -> dict[str, Any]:
    """`dataset` in COCO's format, by default with `own_ids`. Boxes and areas are the annotation's, in its own pixels.

    VOC's difficult objects, which need not be found, have `difficult` 1, a key that pycocotools does not know.
    """
    ids = ids or own_ids(dataset)
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for image_id, example in zip(ids.images, dataset.examples, strict=True):
        truth = annotation(example)
        images.append({"id": image_id, "file_name": example.image.name, "width": truth.width, "height": truth.height})
        columns = (truth.boxes, truth.areas, truth.labels, truth.crowd, truth.difficult)
        for box, area, label, crowd, difficult in zip(*(column.tolist() for column in columns), strict=True):
            item = {
                # From 1, because pycocotools mistakes a match with annotation 0 for no match.
                "id": len(annotations) + 1,
                "image_id": image_id,
                "category_id": ids.categories[label],
                "bbox": box,
                "area": area,
                "iscrowd": int(crowd),
            }
            annotations.append(item | {"difficult": 1} if difficult else item)
    categories = [{"id": ids.categories[label], "name": name} for label, name in enumerate(dataset.classes)]
    description = {"description": f"split {dataset.split}"}
    return {"info": description, "images": images, "annotations": annotations, "categories": categories}


def coco_predictions(
    dataset: Dataset, detections: Sequence[Detections], ids: Ids | None = None
) -> list[dict[str, Any]]:
    """`detections` (one for each example, in order) in COCO's results format, with the ids and in the pixels of
    `coco_ground_truth`.

    Detections that are not finite, or whose corners are exchanged, are left out. ValueError if the number of images or
    the classes differ from those of `dataset`.
    """
    ids = ids or own_ids(dataset)
    results = []
    for image_id, example, found in zip(ids.images, dataset.examples, detections, strict=True):
        if found.classes != dataset.classes:
            raise ValueError(f"detections of image {image_id} have other classes than the data")
        keep = valid_mask(found)
        boxes = annotated_boxes(example, annotation(example), found)
        columns = (boxes[keep], found.scores[keep], found.labels[keep])
        for box, score, label in zip(*(column.tolist() for column in columns), strict=True):
            results.append({"image_id": image_id, "category_id": ids.categories[label], "bbox": box, "score": score})
    return results
