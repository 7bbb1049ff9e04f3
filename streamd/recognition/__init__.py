"""From crops to decisions: embedding, gallery search, calibration, the visit and the rule that decides."""
