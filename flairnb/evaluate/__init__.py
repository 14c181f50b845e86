"""Score masks: lesions, voxel and lesion metrics, and the article's statistics."""
