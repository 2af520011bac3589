"""Does the commanded pose decide the picture, and does the object survive it?"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray

from harness.judges.shelf import Judges
from harness.metrics.pose import (
    identity_similarity,
    identity_variance_ratio,
    pose_control,
    pose_correlation,
    pose_error,
)
from harness.types import PosePrior
from suites.protocols.generation.sheet import Sheet, channels_first
from suites.protocols.generation.sizes import FULL_TURN

RELATION = ("pose_corr", "pose_rank_corr", "pose_slope", "pose_eta2", "pose_spread")
ERRORS = ("pose_mae", "pose_mse", "pose_geodesic")
IDENTITY = ("id_sim", "id_gap", "id_var_ratio")
COLUMNS = (*RELATION, *ERRORS, *IDENTITY)
TURN = "a full turn: see pose_resultant"
STILL = "the pose does not change the pictures"
NO_EFFECT = "no pose effect"


def score_poses(
    sheet: Sheet, predictions: Mapping[str, NDArray], judges: Judges, prior: PosePrior, *, collapsed: bool
) -> None:
    """Enter the pose columns of the sweep [K,P], and how the run ended as note ``pose_state``.

    The mean curve (degrees by commanded azimuth) and every estimate go to ``per_sample``: a fold is seen there.
    """
    pictures, commanded = predictions["sweep"], predictions["sweep_azimuth"].astype(np.float64)
    count, poses = pictures.shape[:2]
    images = channels_first(pictures)
    azimuth, elevation = (angle.double().numpy() for angle in judges.pose(images))
    estimated = azimuth.reshape(count, poses)
    requests = np.tile(commanded, count)
    control = pose_control(requests, estimated.reshape(-1))
    relation = pose_correlation(commanded, estimated)
    still = bool((pictures == pictures[:, :1]).all())
    turn = prior.azimuth[1] >= FULL_TURN
    undefined = STILL if still else "the estimated pose never changes"
    # On a full circle a correlation of angles means nothing, and the resultant has floor 0.
    values = (
        relation.correlation,
        relation.rank_correlation,
        relation.slope,
        relation.eta_squared,
        relation.spread_deg,
    )
    for column, value in zip(RELATION, values, strict=True):
        sheet.put(column, math.nan if turn else value, TURN if turn else undefined)
    if turn:
        sheet.put("pose_resultant", control["resultant"])
    if still:
        sheet.lack((*ERRORS, *IDENTITY), STILL)
    else:
        errors = pose_error(_aligned(azimuth, elevation, control), _commanded(requests))
        found = (control["mae_deg"], errors["mse"], errors["geodesic_deg"])
        for column, value in zip(ERRORS, found, strict=True):
            sheet.put(column, value)
        _score_identity(sheet, judges, images, count, poses)
    sheet.per_sample["azimuth_estimated"] = estimated
    sheet.per_sample["azimuth_commanded"] = commanded
    sheet.per_sample["azimuth_mean_curve_deg"] = relation.mean_curve_deg
    state = NO_EFFECT if still else relation.state.replace("_", " ")
    sheet.notes["pose_state"] = "collapsed" if collapsed else state


def score_elevation(sheet: Sheet, predictions: Mapping[str, NDArray], judges: Judges) -> None:
    """Enter the correlation of commanded and estimated elevation; claimed by nobody, so it has no direction."""
    pictures, commanded = predictions["tilt"], predictions["tilt_elevation"].astype(np.float64)
    estimated = judges.pose(channels_first(pictures))[1].double().numpy().reshape(pictures.shape[:2])
    sheet.put("pose_corr_elev", pose_correlation(commanded, estimated).correlation, "the estimate never changes")


def score_swap(sheet: Sheet, pictures: NDArray, judges: Judges) -> None:
    """Enter how far the two latents divide shape from appearance (HoloGAN, claim H3).

    ``pictures`` [3,S,H,W,3]: objects, the same with another shape latent, with another appearance latent. Change of an
    attribute group = mean absolute difference of its standardised attributes. ``swap_shape`` is the shape latent's
    share of the change of shape, ``swap_appearance`` the appearance latent's share of the change of appearance; 0.5 is
    no division. ``per_sample`` keeps the matrix [latent, group].
    """
    attributes = judges.attributes(channels_first(pictures)).double()
    base, shape, appearance = attributes.reshape(3, pictures.shape[1], -1)
    groups = np.asarray(judges.attribute_groups)
    matrix = np.full((2, 2), math.nan)
    for column, group in enumerate(("shape", "appearance")):
        members = torch.from_numpy(np.flatnonzero(groups == group))
        if len(members):
            for row, swapped in enumerate((shape, appearance)):
                matrix[row, column] = float((swapped - base)[:, members].abs().mean())
    shares = np.diag(matrix) / np.where(matrix.sum(0) > 0, matrix.sum(0), math.nan)
    sheet.put("swap_shape", float(shares[0]), "the judge reads no attribute of shape")
    sheet.put("swap_appearance", float(shares[1]), "the judge reads no attribute of appearance")
    sheet.per_sample["swap_matrix"] = matrix


def _aligned(azimuth: NDArray, elevation: NDArray, control: Mapping[str, float]) -> NDArray[np.float64]:
    """Judged (pitch, yaw, roll) [N,3] after the azimuth's free sign and offset, and the elevation's free offset: a
    generator that learns from unposed pictures may put its front anywhere."""
    yaw = control["sign"] * (azimuth - math.radians(control["offset_deg"]))
    level = math.atan2(np.sin(elevation).mean(), np.cos(elevation).mean())
    return np.stack([elevation - level, yaw, np.zeros_like(yaw)], axis=1)


def _commanded(azimuth: NDArray[np.float64]) -> NDArray[np.float64]:
    """Commanded (pitch, yaw, roll) [N,3] of the sweep, whose elevation never changes and so counts as 0."""
    return np.stack([np.zeros_like(azimuth), azimuth, np.zeros_like(azimuth)], axis=1)


def _score_identity(sheet: Sheet, judges: Judges, images: torch.Tensor, count: int, poses: int) -> None:
    """Enter cosines of the attribute judge's embeddings: two poses of one object, the same minus two objects, and the
    variance of attributes over poses relative to that over objects."""
    found = identity_similarity(judges.space(images), np.repeat(np.arange(count), poses))
    sheet.put("id_sim", found["same"], "no two views of one object")
    sheet.put("id_gap", found["gap"], "no two objects")
    attributes = judges.attributes(images).reshape(count, poses, -1)
    sheet.put("id_var_ratio", float(identity_variance_ratio(attributes)), "no attribute varies")
