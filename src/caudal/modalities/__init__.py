"""The modalities that caudal has: tables, images and sound, one module each."""
