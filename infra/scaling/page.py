"""Tables that stand in a page of infra/ and are made by a script: printing, writing and checking them."""

import argparse
import pathlib
import sys


class Page:
    """The part of a page between two marks that name the script."""

    def __init__(self, path: pathlib.Path, script: str):
        self.path = path
        self.script = script
        self.begin, self.end = f"<!-- {script} begins -->", f"<!-- {script} ends -->"

    def text(self) -> str:
        """The page as it is."""
        return self.path.read_text()

    def with_tables(self, new: str) -> str:
        """The page with these tables in their place."""
        before, rest = self.text().split(self.begin)
        return f"{before}{self.begin}\n{new}\n{self.end}{rest.split(self.end)[1]}"

    def main(self, description: str, new: str) -> int:
        """Prints the tables, or writes or checks them as the command line says. 0 unless the page has others."""
        parser = argparse.ArgumentParser(description=description)
        choice = parser.add_mutually_exclusive_group()
        choice.add_argument("--write", action="store_true", help=f"write the tables into {self.path.name}")
        choice.add_argument("--check", action="store_true", help="fail if the tables there are others")
        arguments = parser.parse_args()
        if arguments.write:
            self.path.write_text(self.with_tables(new))
        elif not arguments.check:
            print(new)
        elif self.with_tables(new) != self.text():
            print(f"{self.path} has other tables; run: python3 infra/scaling/{self.script} --write", file=sys.stderr)
            return 1
        return 0
