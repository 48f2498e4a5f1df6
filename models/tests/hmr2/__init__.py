"""Tests of the import of HMR2 and SMPL, and the made-up files they work on."""
