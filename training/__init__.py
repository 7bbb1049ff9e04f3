"""Makes and measures the model that streamd ships, and the tutorials': prepare, train, distil, export, evaluate, calibrate.

Pictures go through streamd's own detection and alignment, so that what is trained and measured on is what is served.
Training imports streamd, never the reverse.
"""
