"""Agreement, separation, decisions and calibration of a panel."""
