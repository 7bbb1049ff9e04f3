"""From photos in a folder to a gallery: what is read, what is refused and why, and the snapshot that recognition uses."""
