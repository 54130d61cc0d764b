"""Transforms files: the cameras of posed images, in the format of NeRF's synthetic scenes.

A file holds ``camera_angle_x``, the horizontal angle of all its cameras in radians, and ``frames``, each with the path
of its image without an ending and ``transform_matrix``, from camera to world.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from inrbench.domains import Array
from inrbench.errors import BadData

__all__ = ["Transforms", "read_json", "read_transforms"]


@dataclass(frozen=True)
class Transforms:
    """The cameras of one file."""

    angle: float  # horizontal, in radians
    poses: Array  # [frames, 4, 4], from camera to world
    images: tuple[str, ...]  # of each frame, as the file has it: "./train/r_0"


def read_transforms(path: Path) -> Transforms:
    """The cameras in ``path``. Raises BadData that names the file and what of it is wrong."""
    document = read_json(path)
    angle, frames = document.get("camera_angle_x"), document.get("frames")
    if not isinstance(angle, float) or not 0.0 < angle < np.pi:
        raise BadData(f"{path}: camera_angle_x is {angle!r}; allowed are radians between 0 and pi")
    if not isinstance(frames, list) or not frames:
        raise BadData(f"{path}: holds no frames")
    poses, images = [], []
    for i, frame in enumerate(frames):
        name = frame.get("file_path") if isinstance(frame, dict) else None
        if not isinstance(name, str):
            raise BadData(f"{path}: frame {i} names no file_path")
        try:
            pose = np.array(frame["transform_matrix"], dtype=np.float64)
        except (KeyError, TypeError, ValueError):
            pose = np.zeros(0)
        if pose.shape != (4, 4) or not np.isfinite(pose).all():
            raise BadData(f"{path}: the transform_matrix of frame {i} is no 4 x 4 matrix of numbers")
        poses.append(pose)
        images.append(name)
    return Transforms(angle, np.stack(poses), tuple(images))


def read_json(path: Path) -> dict[str, Any]:
    """The object in ``path``. Raises BadData where it cannot be read or is no object."""
    try:
        document = json.loads(path.read_bytes())
    except OSError as error:
        raise BadData(f"{path}: cannot be read ({error.strerror or error})") from None
    except (ValueError, RecursionError):
        raise BadData(f"{path}: is no JSON") from None
    if not isinstance(document, dict):
        raise BadData(f"{path}: holds no object")
    return document
