"""The command line of the import, shared by models/import_hmr2.py and the module it starts. Standard library only."""

import argparse


def parser(prog: str) -> argparse.ArgumentParser:
    """The parser; `prog` is the command's name in the help."""
    made = argparse.ArgumentParser(
        prog=prog,
        description="Makes Halfpipe's `hmr2` and `smpl_neutral` of a 4D-Humans checkpoint and an SMPL file that you bring.",
        epilog="models/hmr2.md says where the files come from, what is made of them, and how much memory it takes.",
    )
    made.add_argument("--checkpoint", required=True, metavar="FILE", help="HMR2's checkpoint (epoch=35-step=1000000.ckpt)")
    made.add_argument("--smpl", required=True, metavar="FILE", help="SMPL's neutral model, .pkl or .npz")
    made.add_argument("--dir", metavar="DIR", help="folder of the models [default: HALFPIPE_MODELS, else the user cache]")
    made.add_argument("--fp16", action="store_true", help="weights and computation in float16, for GPUs; compared with float32 first")
    made.add_argument("--accept-licence", action="store_true", help="accept the terms that are shown, without being asked")
    made.add_argument("--any-size", action="store_true", help="also take a network with more or fewer layers than the released one")
    return made
