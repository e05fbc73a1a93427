"""What people read at the terminal says what the program does: man pages and shell completion."""

import os
import re
import shutil
import subprocess
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
COMPLETIONS = os.path.join(ROOT, "docs", "completions")
COMPLETION = os.path.join(COMPLETIONS, "dstm-client")


def read(*path):
    with open(os.path.join(ROOT, *path), encoding="utf-8") as file:
        return file.read()


def commands_and_options():
    """Of the program: a command to what its --help names."""
    source = read("client", "main.cpp")
    commands = set(re.findall(r'add\("(\w+)", "', source))
    common = {"-c", "--config", "--check-config", "-h", "--help"}
    own = {"up": {"--foreground", "--timeout"}, "renew": {"--timeout"}, "status": {"--json"}}
    written = set(re.findall(r'(?<![\w-])(--?[a-z][\w-]*)(?=[",])', source)) | {"-h", "--help"}
    known = common.union({"--version"}, *own.values())
    assert written == known, f"main.cpp has {written ^ known} more or less than this test"
    return {"": {"-h", "--help", "--version"},
            **{command: common | own.get(command, set()) for command in commands}}


def complete(*words):
    """What bash offers for the last word."""
    script = ('source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); '
              '_dstm_client; printf "%s\\n" "${COMPREPLY[@]}"')
    done = subprocess.run(["bash", "-c", script, "bash", COMPLETION, *words],
                          capture_output=True, text=True, check=True)
    return set(done.stdout.split())


class Manual(unittest.TestCase):
    pages = ("dstm-client.8", "dstm-client.conf.5")

    def test_the_pages_are_formatted_without_a_warning(self):
        if shutil.which("groff") is None:
            self.skipTest("groff is not installed")
        for page in self.pages:
            done = subprocess.run(["groff", "-mandoc", "-Tutf8", "-ww", "-z",
                                   os.path.join(ROOT, "docs", "man", page)],
                                  capture_output=True, text=True)
            self.assertEqual((done.returncode, done.stderr), (0, ""), page)

    def test_the_page_names_every_command_option_and_exit_code(self):
        page = read("docs", "man", "dstm-client.8").replace("\\-", "-")
        source = read("client", "main.cpp")
        commands = re.findall(r'add\("(\w+)", "', source)
        options = re.findall(r'"(?:-\w,)?--([\w-]+)"', source)
        self.assertGreaterEqual(len(commands), 5)
        self.assertGreaterEqual(len(options), 5)
        for command in commands:
            self.assertIn(f".It Cm {command}\n", page)
        for option in options:
            self.assertIn(f"Fl -{option}", page)
        for code in re.findall(r" = (\d),", read("client", "exit_code.hpp")):
            self.assertRegex(page, rf"(?m)^\.It {code}$")

    def test_the_page_names_every_field_of_the_status(self):
        page = read("docs", "man", "dstm-client.8")
        fields = set(re.findall(r'status\["([\w-]+)"\]', read("client", "report.cpp"))) | \
            {"state"} | set(re.findall(r'status\["([\w-]+)"\]', read("client", "control.cpp")))
        self.assertGreaterEqual(len(fields), 15)
        named = set(re.findall(r"[\w-]+", "".join(
            line for line in page.splitlines() if line.startswith(".Va "))))
        self.assertEqual(fields - named, set())

    def test_the_page_names_every_key(self):
        page = read("docs", "man", "dstm-client.conf.5")
        section = read("docs", "configuration.md").split("\n## dstm-client\n")[1].split("\n## ")[0]
        rows = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
        keys = {key for row in rows for key in re.findall(r"`([\w.-]+)`", row)}
        self.assertGreaterEqual(len(keys), 15)
        self.assertEqual({key for key in keys if f"Va {key}" not in page}, set())


class Completion(unittest.TestCase):
    def test_commands_options_and_files_are_offered(self):
        self.assertEqual(complete("dstm-client", ""),
                         {"run", "up", "down", "renew", "status", "-h", "--help", "--version"})
        self.assertEqual(complete("dstm-client", "st"), {"status"})
        self.assertEqual(complete("dstm-client", "status", "--j"), {"--json"})
        self.assertIn("--foreground", complete("dstm-client", "up", "--"))
        self.assertEqual(complete("dstm-client", "-c", os.path.join(ROOT, "READ")),
                         {os.path.join(ROOT, "README.md")})

    def test_bash_offers_what_each_command_has(self):
        for command, options in commands_and_options().items():
            words = complete("dstm-client", command, "-") if command else \
                complete("dstm-client", "-")
            self.assertEqual(words, options, command)

    def test_fish_offers_what_each_command_has(self):
        if shutil.which("fish") is None:
            self.skipTest("fish is not installed")
        meant = commands_and_options()
        self.assertEqual(self.fish(""), set(meant) - {""})
        for command, options in meant.items():
            self.assertEqual(self.fish(f"{command} -".lstrip()), options, command)

    def fish(self, words):
        script = f"source {COMPLETIONS}/dstm-client.fish; complete -C 'dstm-client {words}'"
        done = subprocess.run(["fish", "--no-config", "-c", script], capture_output=True, text=True,
                              check=True, env={**os.environ, "HOME": "/nonexistent"})
        return {line.split("\t")[0] for line in done.stdout.splitlines()}

    def test_zsh_offers_what_each_command_has(self):
        if shutil.which("zsh") is None:
            self.skipTest("zsh is not installed")
        meant = commands_and_options()
        self.assertEqual(set(re.findall(r"^(\w+):", self.zsh(""), re.M)), set(meant) - {""})
        for command, options in meant.items():
            said = self.zsh(*command.split(), "-")
            self.assertEqual(said.splitlines()[-1], "of " + (command or "dstm-client"))
            self.assertEqual(set(re.findall(r"^(?:\([^)]*\))?(--?[a-z-]+)\[", said, re.M)), options,
                             command)

    def zsh(self, *words):
        """What the completion hands to zsh's own functions, and of which command."""
        script = ('_arguments() { print -rl -- "$@" "of $words[1]" }; '
                  '_describe() { print -rl -- ${(P)2} }; '
                  'offer() { local words=("$@") CURRENT=$#; source $completion }; offer "$@"')
        return subprocess.run(["zsh", "-f", "-c", script, "zsh", "dstm-client", *words],
                              capture_output=True, text=True, check=True,
                              env={**os.environ,
                                   "completion": f"{COMPLETIONS}/_dstm-client"}).stdout


if __name__ == "__main__":
    unittest.main(verbosity=2)
