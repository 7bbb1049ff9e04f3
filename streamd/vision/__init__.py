"""From a camera to aligned, judged face crops: capture, motion, detection, tracking, landmarks, quality, alignment."""
