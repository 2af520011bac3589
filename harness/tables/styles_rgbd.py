"""Columns of the generators of images with depth: quality of depth, rotation, agreement of image and depth.

Columns that other generators have too are in ``styles_generation``.
"""

from __future__ import annotations

from harness.tables.column_style import ColumnStyle

DEPTH, ROTATION, BOND = "Depth", "Rotation", "Image and depth"
GROUPS = (DEPTH, ROTATION, BOND)

STYLES: dict[str, ColumnStyle] = {
    "fid_depth": ColumnStyle("lower", DEPTH, 4, "Frechet distance of block means of depth to held-out real depth"),
    "kid_depth": ColumnStyle("lower", DEPTH, 5, "kernel distance of the same, unbiased: may be negative near zero"),
    "depth_std": ColumnStyle("none", DEPTH, 3, "mean deviation of depth within a picture; 0: flat"),
    "depth_agree": ColumnStyle("lower", DEPTH, 4, "mean difference to the depth that the judge reads off the picture"),
    "depth_agree_floor": ColumnStyle("none", DEPTH, 4, "the judge's own error on real pictures"),
    "side_judge": ColumnStyle(
        "none", DEPTH, 3, "scale-invariant depth error of the judge on pictures held back from it"
    ),
    "yaw_corr": ColumnStyle("higher", ROTATION, 3, "absolute correlation of commanded and judged yaw"),
    "yaw_slope": ColumnStyle(
        "higher", ROTATION, 3, "absolute slope of judged on commanded yaw, 1 = full range", ranked=False
    ),
    "yaw_mae": ColumnStyle("lower", ROTATION, 2, "yaw error in degrees after one offset and sign"),
    "e_depth": ColumnStyle(
        "lower",
        ROTATION,
        4,
        "depth error of views warped to each other by depth and yaw, low for a flat depth too; "
        "theta=0: without rotation, theta=flipped: with the wrong sign",
        ranked=False,
    ),
    "gain_depth": ColumnStyle(
        "higher", ROTATION, 3, "1 - e_depth / e_depth[theta=0]: above 0 the change of view is a rotation"
    ),
    "e_rgb": ColumnStyle("lower", ROTATION, 4, "the same for colours", ranked=False),
    "gain_rgb": ColumnStyle("higher", ROTATION, 3, "1 - e_rgb / e_rgb[theta=0]; a flat depth gets part of it"),
    "mask_share": ColumnStyle("none", ROTATION, 3, "pixels that land in the other view"),
    "warp_psnr": ColumnStyle(
        "higher", ROTATION, 2, "dB of warped views where nothing hides them; high for still views too", ranked=False
    ),
    "swap_depth": ColumnStyle(
        "lower", BOND, 4, "change of depth when the appearance code changes: exactly 0 for two paths", ranked=False
    ),
    "swap_rgb_same_depth": ColumnStyle("none", BOND, 3, "change of colours with the same depth code"),
    "edge_corr": ColumnStyle(
        "higher", BOND, 3, "correlation of edges in image and depth; real pictures bound it", False
    ),
    "edge_corr_other": ColumnStyle("none", BOND, 3, "the same with the depth of another picture"),
    "d_depth_ce": ColumnStyle("lower", BOND, 3, "cross-entropy of the discriminator's depth head on held-out pictures"),
    "d_depth_ce_prior": ColumnStyle("none", BOND, 3, "the same for the training set's frequencies per pixel"),
}
