"""Completion of ``kubectl ocore`` by kubectl's own completion: it runs the program ``kubectl_complete-ocore`` with the
words so far."""

import sys

from typer._click.shell_completion import CompletionItem, ShellComplete
from typer.main import get_command

from .app import app
from .manage import COMPLETE_VARIABLE
from .terminal import safe

#: kubectl's sign that no names of files are proposed.
NO_FILES = ":4"


class _Kubectl(ShellComplete):
    """The library's completion, without a script for a shell: kubectl has its own."""

    name = "kubectl"
    source_template = ""

    def source_vars(self) -> dict[str, str]:
        return {}

    def get_completion_args(self) -> tuple[list[str], str]:
        return [], ""  # the words are given to get_completions

    def format_completion(self, item: CompletionItem) -> str:
        return f"{item.value}\t{item.help}" if item.help else str(item.value)


def proposals(words: list[str]) -> list[str]:
    """Lines of kubectl's protocol: a proposal, and its description after a tab. The last word is the one that is
    completed; it may be empty."""
    *before, incomplete = words or [""]
    completion = _Kubectl(get_command(app), {}, "kubectl ocore", COMPLETE_VARIABLE)
    return [completion.format_completion(item) for item in completion.get_completions(before, incomplete)]


def main() -> None:
    """The console script."""
    for line in proposals(sys.argv[1:]):
        value, _, text = line.partition("\t")
        print(f"{safe(value)}\t{safe(text)}" if text else safe(value))
    print(NO_FILES)


if __name__ == "__main__":
    main()
