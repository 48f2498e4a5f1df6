"""Import of HMR2 (4D-Humans) and SMPL from files that the user brings; models/import_hmr2.py starts it."""
