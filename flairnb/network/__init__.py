"""The U-Net: patches, augmentation, training, inference, weights."""
