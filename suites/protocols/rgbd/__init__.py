"""Parts of protocol ``generation_rgbd``."""
