"""N4, brain extraction, registration, resampling and the way back (Image Preprocessing)."""
