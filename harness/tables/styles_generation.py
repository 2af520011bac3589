"""Columns of image generation: distances of image sets, pose control, geometry."""

from __future__ import annotations

from harness.tables.column_style import ColumnStyle

IMAGES, POSE, SHAPE = "Images", "Pose control", "Geometry"
GROUPS = (IMAGES, POSE, SHAPE)

STYLES: dict[str, ColumnStyle] = {
    "fid": ColumnStyle("lower", IMAGES, 3, "Frechet distance of features to held-out real images"),
    "fid_se": ColumnStyle("none", IMAGES, 3, "standard error of the Frechet distance within one seed", page=False),
    "kid_full": ColumnStyle("lower", IMAGES, 5, "kernel distance, unbiased: may be negative near zero"),
    "kid_full_se": ColumnStyle("none", IMAGES, 5, "standard error of the kernel distance within one seed", page=False),
    "precision": ColumnStyle("higher", IMAGES, 3, "share of generated images inside the real manifold"),
    "recall": ColumnStyle("higher", IMAGES, 3, "share of real images inside the generated manifold"),
    "density": ColumnStyle("higher", IMAGES, 3, "real neighbourhoods per generated image, about 1 for equal laws"),
    "coverage": ColumnStyle("higher", IMAGES, 3, "share of real images with a generated neighbour"),
    "diversity": ColumnStyle(
        "none", IMAGES, 3, "mean distance between images relative to real ones; below 0.3: collapsed"
    ),
    "d_gap": ColumnStyle(
        "lower",
        IMAGES,
        3,
        "how far held-out images have gone from training images (0) to fakes (1) in the eyes of the discriminator",
        ranked=False,
    ),
    "d_train": ColumnStyle("none", IMAGES, 2, "mean logit of training images", page=False),
    "d_val": ColumnStyle("none", IMAGES, 2, "mean logit of held-out images", page=False),
    "d_fake": ColumnStyle("none", IMAGES, 2, "mean logit of generated images", page=False),
    "nn_ratio": ColumnStyle(
        "none", IMAGES, 3, "distance to the nearest training image relative to as many others; below 1: memorises"
    ),
    "pose_corr": ColumnStyle("higher", POSE, 3, "absolute correlation of commanded and estimated azimuth"),
    "pose_rank_corr": ColumnStyle("higher", POSE, 3, "the same by ranks", page=False),
    "pose_resultant": ColumnStyle("higher", POSE, 3, "agreement on a full turn after one offset and sign"),
    "pose_slope": ColumnStyle(
        "higher", POSE, 3, "absolute slope of estimated on commanded azimuth, 1 = full range", ranked=False
    ),
    "pose_eta2": ColumnStyle("higher", POSE, 3, "share of the estimate's variance that the command decides"),
    "pose_spread": ColumnStyle(
        "lower", POSE, 2, "degrees by which the latent alone moves the azimuth; low for a collapse too", ranked=False
    ),
    "pose_mae": ColumnStyle("lower", POSE, 2, "azimuth error in degrees after one offset and sign"),
    "pose_corr_elev": ColumnStyle("none", POSE, 3, "absolute correlation of commanded and estimated elevation"),
    "id_var_ratio": ColumnStyle(
        "lower",
        POSE,
        3,
        "attribute variance over poses relative to that over identities; read it only where the pose is controlled",
        ranked=False,
    ),
    "swap_shape": ColumnStyle("higher", POSE, 3, "share of shape change caused by the shape latent in a swap"),
    "swap_appearance": ColumnStyle(
        "higher", POSE, 3, "share of appearance change caused by the appearance latent in a swap"
    ),
    "side": ColumnStyle("lower", SHAPE, 3, "scale-invariant depth error against the depth judge"),
    "side_const": ColumnStyle("none", SHAPE, 3, "the same for a constant depth on the same masks"),
    "side_mean_map": ColumnStyle("none", SHAPE, 3, "the same for the mean real depth map on the same masks"),
    "side_other": ColumnStyle("none", SHAPE, 3, "the same for the depth of another latent at the same pose"),
    "side_own": ColumnStyle("none", SHAPE, 3, "the depth error of the own depth on the pixels of side_other"),
    "mad": ColumnStyle("lower", SHAPE, 2, "mean angle between normals of own and judged depth, degrees"),
    "depth_mse_std": ColumnStyle("lower", SHAPE, 3, "squared error of depth standardised per image"),
    "reproj_l1": ColumnStyle(
        "lower",
        SHAPE,
        4,
        "photometric error of neighbouring views warped by the depth; low for one-coloured pictures too",
        ranked=False,
    ),
    "reproj_mse": ColumnStyle("lower", SHAPE, 5, "the same, squared", ranked=False, page=False),
    "reproj_floor": ColumnStyle("none", SHAPE, 4, "the same with views of different objects"),
}
