"""What images and audio share: files, their parts and labels, and how they are read."""
