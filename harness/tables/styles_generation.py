"""Columns of image generation: distances of image sets, pose control, geometry."""

from __future__ import annotations

from harness.tables.column_style import ColumnStyle

IMAGES, POSE, SHAPE = "Images", "Pose control", "Geometry"
INVERSION, HEAD = "Inversion of real objects", "Depth head"
GROUPS = (IMAGES, POSE, SHAPE, INVERSION, HEAD)

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
    "pose_mse": ColumnStyle(
        "lower", POSE, 4, "squared error of pitch, yaw and roll in square radians after the same alignment", page=False
    ),
    "pose_geodesic": ColumnStyle("lower", POSE, 2, "angle in degrees between commanded and judged rotation"),
    "pose_corr_elev": ColumnStyle("none", POSE, 3, "absolute correlation of commanded and estimated elevation"),
    "id_sim": ColumnStyle(
        "higher",
        POSE,
        3,
        "cosine of the attribute judge's embeddings of two poses of one object; high for a collapse too",
        ranked=False,
    ),
    "id_gap": ColumnStyle(
        "higher", POSE, 3, "the same minus the cosine of two objects; high where the pose does little", ranked=False
    ),
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
    "depth_reproj": ColumnStyle(
        "lower",
        SHAPE,
        4,
        "difference of the depths of neighbouring views, share of the depth range; low for a flat card too",
        ranked=False,
    ),
    "cycle_px": ColumnStyle(
        "lower",
        SHAPE,
        3,
        "pixels by which a point moves on its way to the next view and back; low for a flat card too",
        ranked=False,
    ),
    "std_ratio": ColumnStyle(
        "none", SHAPE, 3, "spread of the depth relative to the judge's: 0 a card that faces the camera, 1 right"
    ),
    "relief_ratio": ColumnStyle(
        "none", SHAPE, 3, "the same after each depth has lost its plane: 0 for a card at any angle"
    ),
    "relief_corr": ColumnStyle(
        "higher", SHAPE, 3, "correlation with the judge's depth after each has lost its plane; below 0: inside out"
    ),
    "concave": ColumnStyle("lower", SHAPE, 3, "share of pictures whose relief is inside out"),
    "opacity_soft": ColumnStyle(
        "lower", SHAPE, 3, "share of rays with opacity between 0.1 and 0.9: fog, or silhouettes", ranked=False
    ),
    "floaters": ColumnStyle("lower", SHAPE, 2, "pieces of the solid beside the largest, per sample"),
    "empties": ColumnStyle("lower", SHAPE, 2, "share of samples whose density nowhere makes a surface", page=False),
    "inv_psnr": ColumnStyle("higher", INVERSION, 2, "dB at the one view that was given", ranked=False),
    "inv_psnr_novel": ColumnStyle("higher", INVERSION, 2, "dB at exact views that were not given"),
    "inv_side": ColumnStyle("lower", INVERSION, 3, "depth error against exact depth at the given view"),
    "inv_side_novel": ColumnStyle("lower", INVERSION, 3, "the same at views that were not given"),
    "inv_side_const": ColumnStyle("none", INVERSION, 3, "a constant depth at the given view, on the same pixels"),
    "inv_side_mean_map": ColumnStyle("none", INVERSION, 3, "the same for the mean real depth map"),
    "inv_chamfer_l1": ColumnStyle(
        "lower", INVERSION, 4, "distance of fitted and true visible surface, share of the diagonal of the true box"
    ),
    "inv_fscore": ColumnStyle("higher", INVERSION, 3, "points of either surface within 0.02 diagonals of the other"),
    "inv_normal_consistency": ColumnStyle("higher", INVERSION, 3, "agreement of normals at nearest points"),
    "head_side": ColumnStyle("lower", HEAD, 3, "depth error of the method's own depth head on real test pictures"),
    "head_side_const": ColumnStyle("none", HEAD, 3, "the same for a constant depth"),
    "head_side_mean_map": ColumnStyle("none", HEAD, 3, "the same for the mean real depth map"),
    "head_corr": ColumnStyle("higher", HEAD, 3, "correlation of its depth with the exact one within a picture"),
}
