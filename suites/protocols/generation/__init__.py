"""Parts of protocol ``generation_3d``."""
