"""Results for people and other tools: JSON Lines, CVAT XML, COCO, pages."""
