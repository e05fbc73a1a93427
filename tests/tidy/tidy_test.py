"""The house rules that a machine can check (docs/architecture.md, "Who may use whom")."""

import os
import re
import subprocess
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
LINES_MAX = 600
COLUMNS_MAX = 100

# Folder to the folders of ours that its files may include. Daemons share formats, not code.
MAY_USE = {
    "common/base": {"common/base"},
    "common/log": {"common/base", "common/log"},
    "common/config": {"common/base", "common/config"},
    "common/tsp": {"common/base", "common/tsp"},
    "common/tunnel": {"common/base", "common/tunnel"},
    "common/teplink": {"common/base", "common/tunnel", "common/teplink"},
    "common/io": {"common/base", "common/log", "common/tsp", "common/teplink", "common/io"},
    "common/dataplane": {"common/base", "common/log", "common/tunnel", "common/dataplane"},
    "common/sasl": {"common/sasl"},
    "kea-hook": {"common/base", "common/tunnel", "kea-hook"},
    "dstm-server": {"common", "dstm-server"},
    "tep": {"common", "tep"},
    "client": {"common", "client"},
}

# A foreign library's headers and the only folders that may see them.
ADAPTERS = {
    r"xercesc/": {"common/tsp"},
    r"sasl/": {"common/sasl", "dstm-server/auth", "client/auth"},
    r"netlink/": {"common/dataplane", "client/host"},
    r"boost/asio": {"common/io"},
    r"boost/beast": {"common/io"},
    r"spdlog/": {"common/log"},
}

# Where counters get their names. Those of data planes count what is lost on a packet's path.
DROP_COUNTERS = {
    "common/dataplane/drop.cpp": r'case Drop::\w+: return "(\w+)"',
    "common/dataplane/tun_plane.cpp": r'out\["(\w+)"\]',
    "common/dataplane/kernel_endpoint.cpp": r'(?:out|gone_)\["(\w+)"\]',
    "common/dataplane/kernel_client.cpp": r'out\["(\w+)"\]',
    "tep/bpf/entry_table.cpp": r'case DSTM_DROP_(?!NONE)\w+: return "(\w+)"',
}
OTHER_COUNTERS = {
    "tep/admin.cpp": r'\{"([a-z-]+)", counters\.',
    "dstm-server/admin/commands.cpp":
        r'\{"([a-z-]+)", (?:counters\.|refused\.|status\.(?:relayed|send_failed)\})',
}


def tracked(*patterns):
    listed = subprocess.run(["git", "ls-files", *patterns], cwd=ROOT, capture_output=True,
                            text=True, check=True).stdout.split("\n")
    return [name for name in listed if name and os.path.exists(os.path.join(ROOT, name))]


def text_of(name):
    with open(os.path.join(ROOT, name), encoding="utf-8") as file:
        return file.read()


def tables_of(name):
    """The tables of a document: of each the lines, and of each line the cells."""
    tables = [[]]
    for line in text_of(name).split("\n"):
        if line.startswith("|"):
            tables[-1].append([cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]])
        elif tables[-1]:
            tables.append([])
    return [table for table in tables if table]


def sources():
    return [name for name in tracked("*.cpp", "*.hpp", "*.cc", "*.h", "*.c")
            if not name.startswith("tests/")]


def home_of(name, folders):
    """The longest folder of `folders` that holds this file."""
    return max((folder for folder in folders if name.startswith(folder + "/")), key=len,
               default=None)


class Tidy(unittest.TestCase):
    maxDiff = None

    def test_dependencies_point_one_way(self):
        wrong = []
        for name in sources():
            allowed = MAY_USE[home_of(name, MAY_USE)]
            for included in re.findall(r'^#include "([^"]+)"', text_of(name), re.M):
                ours = home_of(included, ["common", "dstm-server", "tep", "client", "kea-hook"])
                if ours and not any(included.startswith(folder + "/") for folder in allowed):
                    wrong.append(f"{name} includes {included}")
        self.assertEqual(wrong, [])

    def test_a_foreign_library_is_seen_by_its_adapter_only(self):
        wrong = []
        for name in sources():
            for included in re.findall(r"^#include <([^>]+)>", text_of(name), re.M):
                for header, homes in ADAPTERS.items():
                    if re.match(header, included) and not home_of(name, homes):
                        wrong.append(f"{name} includes {included}")
        self.assertEqual(wrong, [])

    def test_every_file_opens_with_what_it_is(self):
        wrong = []
        for name in tracked("*.cpp", "*.hpp", "*.py"):
            if "/vectors/" in name or name.startswith("tests/"):
                continue
            if not re.match(r'(#!.*\n)?(//|/\*|""")', text_of(name)):
                wrong.append(name)
        self.assertEqual(wrong, [])

    def test_files_and_lines_are_short(self):
        wrong = []
        for name in tracked("*.cpp", "*.hpp", "*.c", "*.h", "*.py"):
            lines = text_of(name).split("\n")
            if len(lines) > LINES_MAX:
                wrong.append(f"{name}: {len(lines)} lines")
            wrong += [f"{name}:{number}" for number, line in enumerate(lines, 1)
                      if len(line) > COLUMNS_MAX]
        self.assertEqual(wrong, [])

    def test_no_marker_is_left_behind(self):
        marker = re.compile(r"\b(" + "|".join(("TO" + "DO", "FIX" + "ME", "X" + "XX")) + r")\b")
        wrong = [name for name in tracked("*.cpp", "*.hpp", "*.py", "*.md", "*.txt", "dev")
                 if marker.search(text_of(name))]
        self.assertEqual(wrong, [])

    def test_tests_wait_for_states_not_for_time(self):
        # Their wait_for polls for a state with a bound: one for each harness. A bench measures
        # for a time.
        allowed = {"tests/integration/campus.py", "tests/integration/kea_process.py",
                   "tests/unit/dataplane/tun_campus.hpp",
                   "tests/tidy/tidy_test.py"}
        wrong = [name for name in tracked("tests/*.cpp", "tests/*.hpp", "tests/*.py")
                 if name not in allowed and not name.startswith("tests/bench/") and
                 re.search(r"sleep_for|sleep_until|\btime\.sleep\(|usleep\(", text_of(name))]
        self.assertEqual(wrong, [])

    def test_every_log_identifier_is_explained_and_every_explanation_is_of_one(self):
        used = set()
        for name in sources():
            used |= set(re.findall(r'\blog_(?:debug|info|warning|error)\(\s*"([A-Z0-9_]+)"',
                                   text_of(name)))
        explained = set(re.findall(r"^## ([A-Z0-9_]+)$", text_of("docs/events.md"), re.M))
        self.assertEqual(sorted(used - explained), [], "logged but not explained")
        # Some lines choose between two identifiers before they log.
        written = set()
        for name in sources():
            written |= set(re.findall(r'"([A-Z0-9]+_[A-Z0-9_]+)"', text_of(name)))
        self.assertEqual(sorted(explained - written), [], "explained but never logged")

    def test_tables_in_the_documents_have_a_head_and_rows_of_its_length(self):
        wrong = []
        for name in tracked("*.md"):
            for table in tables_of(name):
                is_rule = len(table) > 1 and all(re.fullmatch(r":?-+:?", cell)
                                                 for cell in table[1])
                if not is_rule or any(len(row) != len(table[0]) for row in table):
                    wrong.append(f"{name}: the table of {table[0]}")
        self.assertEqual(wrong, [])

    def test_every_counter_is_explained_with_its_place_and_every_explanation_is_of_one(self):
        explained = set()
        placed = set()
        for head, _, *rows in tables_of("docs/counters.md"):
            if head[0] != "counter":
                continue
            names = [row[0].strip("`") for row in rows]
            explained |= set(names)
            if "place" in head:
                at = head.index("place")
                placed |= {name for name, row in zip(names, rows) if row[at]}

        def named(counters):
            found = {name: set(re.findall(pattern, text_of(name)))
                     for name, pattern in counters.items()}
            self.assertEqual([name for name, names in found.items() if not names], [])
            return set().union(*found.values())

        drops = named(DROP_COUNTERS)
        others = named(OTHER_COUNTERS)
        self.assertEqual(sorted(drops - placed), [], "counted, but no place is told")
        in_words = set(re.findall(r"`([a-z-]+)`", text_of("docs/counters.md")))
        self.assertEqual(sorted(others - in_words), [], "counted, but not explained")
        self.assertEqual(sorted(explained - drops - others), [], "explained, but never counted")

    def test_the_tests_that_the_compliance_document_names_exist(self):
        there = set()
        for name in tracked("tests/*.cpp"):
            there |= set(re.findall(r"TEST(?:_F|_P)?\(\s*(\w+),\s*(\w+)\)", text_of(name)))
        suites = {suite for suite, _ in there}
        missing = []
        for suite, case in re.findall(r"\b([A-Z]\w+)\.([A-Z]\w+|\*)",
                                      text_of("docs/rfc5572-compliance.md")):
            if suite not in suites or (case != "*" and (suite, case) not in there):
                missing.append(f"{suite}.{case}")
        for name in re.findall(r"\b(\w+_test\.py)", text_of("docs/rfc5572-compliance.md")):
            if not os.path.exists(os.path.join(ROOT, "tests", "integration", name)):
                missing.append(name)
        self.assertEqual(missing, [])

    def test_every_requirement_is_answered_with_yes_or_no_where_and_by_which_test(self):
        rows = {}
        for line in text_of("docs/rfc5572-compliance.md").splitlines():
            if match := re.match(r"\| ([NBDS]\d+) \|", line):
                rows[match.group(1)] = [cell.strip() for cell in line.strip("|").split("|")]
        wanted = [f"{letter}{number}" for letter, count in (("N", 13), ("B", 38), ("D", 17),
                                                            ("S", 19))
                  for number in range(1, count + 1)]
        self.assertEqual(sorted(rows), sorted(wanted))
        wrong = [name for name, cells in rows.items()
                 if len(cells) != 5 or not all(cells) or not re.match(r"(yes|no)\b", cells[2])]
        self.assertEqual(wrong, [])

    def test_links_in_the_documents_lead_somewhere(self):
        wrong = []
        for name in tracked("*.md"):
            for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text_of(name)):
                if not os.path.exists(os.path.join(ROOT, os.path.dirname(name), target)):
                    wrong.append(f"{name}: {target}")
        self.assertEqual(wrong, [])


if __name__ == "__main__":
    unittest.main(verbosity=2)
