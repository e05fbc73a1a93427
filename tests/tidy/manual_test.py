"""What people read at the terminal says what the program does: man pages and shell completion."""

import os
import re
import shutil
import subprocess
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
COMPLETION = os.path.join(ROOT, "docs", "completions", "dstm-client")


def read(*path):
    with open(os.path.join(ROOT, *path), encoding="utf-8") as file:
        return file.read()


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
                         {"run", "up", "down", "renew", "status", "--help"})
        self.assertEqual(complete("dstm-client", "st"), {"status"})
        self.assertEqual(complete("dstm-client", "status", "--j"), {"--json"})
        self.assertIn("--foreground", complete("dstm-client", "up", "--"))
        self.assertEqual(complete("dstm-client", "-c", COMPLETION[:-1]), {COMPLETION})

    def test_every_option_of_the_program_is_offered_somewhere(self):
        options = re.findall(r'"(?:-\w,)?(--[\w-]+)"', read("client", "main.cpp"))
        text = read("docs", "completions", "dstm-client")
        self.assertEqual({option for option in options if option not in text}, set())


if __name__ == "__main__":
    unittest.main(verbosity=2)
