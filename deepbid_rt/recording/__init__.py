"""Movies and session logs in files. The only folder that imports tifffile."""
