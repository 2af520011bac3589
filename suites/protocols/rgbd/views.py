"""Several views of the same rooms: does the yaw decide the picture, and is the change a rotation?"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from harness.judges.shelf import Judges
from harness.metrics.errors import EmptyInput
from harness.metrics.pose import pose_control, pose_correlation
from harness.metrics.rotation import RotationErrors
from harness.types import PosePrior
from suites.protocols.generation.sheet import Sheet, channels_first
from suites.protocols.rgbd.coding import Coding

YAW = ("yaw_corr", "yaw_slope", "yaw_mae")
ROTATION = (
    "e_depth", "e_depth[theta=0]", "e_depth[theta=flipped]", "gain_depth",
    "e_rgb", "e_rgb[theta=0]", "e_rgb[theta=flipped]", "gain_rgb", "mask_share", "warp_psnr",
)  # fmt: skip
STILL = "the yaw does not change the pictures"
OUT_OF_FRAME = "no pixel of any pair lands in the other view"


def focal_of(prior: PosePrior) -> float:
    """Focal length in image widths."""
    return 0.5 / math.tan(prior.fov / 2)


def score_yaw(sheet: Sheet, predictions: Mapping[str, NDArray], judges: Judges) -> None:
    """Enter how the judged yaw of ``views`` [K,V] follows the commanded one.

    Training is unposed, so that sign and offset are free in all columns; the note ``yaw_state`` says how the run ended
    and which sign it found.
    """
    pictures, commanded = predictions["views"], predictions["views_yaw"].astype(np.float64)
    count, yaws = pictures.shape[:2]
    estimated = judges.pose(channels_first(pictures))[0].double().numpy().reshape(count, yaws)
    sheet.per_sample["yaw_estimated"], sheet.per_sample["yaw_commanded"] = estimated, commanded
    if bool((pictures == pictures[:, :1]).all()):
        sheet.lack(YAW, STILL)
        sheet.notes["yaw_state"] = "no effect of the yaw"
        return
    relation = pose_correlation(commanded, estimated)
    control = pose_control(np.tile(commanded, count), estimated.ravel())
    for column, value in zip(YAW, (relation.correlation, relation.slope, control["mae_deg"]), strict=True):
        sheet.put(column, value, "the estimated yaw never changes")
    sign = "as commanded" if relation.pearson > 0 else "against the command"
    sheet.notes["yaw_state"] = f"{relation.state.replace('_', ' ')}, turns {sign}"


def score_rotation(sheet: Sheet, predictions: Mapping[str, NDArray], coding: Coding, prior: PosePrior) -> None:
    """Enter rotation errors and gains over all ordered pairs of different yaws of every room."""
    pictures, yaws = predictions["views"], predictions["views_yaw"].astype(np.float64)
    depth = coding.warped(predictions["views_depth"])
    images = channels_first(pictures).double().reshape(*pictures.shape[:2], 3, *pictures.shape[2:4]) / 127.5 - 1
    errors = RotationErrors(focal=focal_of(prior))
    for one, two in itertools.permutations(range(len(yaws)), 2):
        theta = np.full(len(depth), yaws[two] - yaws[one])
        errors.update(depth[:, one], depth[:, two], theta, images[:, one], images[:, two])
    try:
        found = errors.compute()
    except EmptyInput:
        sheet.lack(ROTATION, OUT_OF_FRAME)
        return
    for column in ROTATION:
        sheet.put(column, found[column], "no pixel is visible in both views of any pair")
    for kind in ("depth", "rgb"):
        if found[f"gain_{kind}"] == -math.inf:
            sheet.notes[f"gain_{kind}"] = f"e_{kind}[theta=0] is 0: the view does not change with the yaw"
    sheet.per_sample["rotation_pairs"] = errors.per_sample()
