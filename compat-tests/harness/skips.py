"""The skip list: which tests need not pass, and why."""

import re
import tomllib

KINDS = ("for-good", "issue")
FIELDS = {"unit", "test", "kind", "needs", "reason", "run", "absent", "engine"}


class SkipError(Exception):
    """The list itself is wrong."""


class Skip:
    def __init__(self, number, entry):
        where = f"skips.toml, entry {number}"
        unknown = set(entry) - FIELDS
        if unknown:
            raise SkipError(f"{where}: unknown field {', '.join(sorted(unknown))}")
        for field in ("unit", "test", "kind", "reason"):
            if not entry.get(field):
                raise SkipError(f"{where}: {field} is missing")
        if entry["kind"] not in KINDS:
            raise SkipError(f"{where}: kind is one of {', '.join(KINDS)}")
        if (entry["kind"] == "issue") != bool(entry.get("needs")):
            raise SkipError(f"{where}: 'issue' names the capability in `needs`, 'for-good' has none")
        self.unit, self.test, self.kind = entry["unit"], entry["test"], entry["kind"]
        self.needs, self.reason, self.run = entry.get("needs"), entry["reason"], entry.get("run", True)
        self.absent = entry.get("absent", False)
        # for the server's other engine there is no such entry
        self.engine = entry.get("engine")
        # only `*` is special: test names hold brackets and question marks
        self.pattern = re.compile(".*".join(re.escape(p) for p in self.test.split("*")), re.DOTALL)
        self.used = False

    def matches(self, unit, test):
        return self.unit == unit and (self.test == test or self.pattern.fullmatch(test) is not None)

    def __str__(self):
        return f"{self.unit}: {self.test}"


class Skips:
    def __init__(self, path, engine):
        with open(path, "rb") as f:
            data = tomllib.load(f)
        self.later = {k: v.split() for k, v in data.get("later", {}).items()}
        self.entries = [Skip(i + 1, e) for i, e in enumerate(data.get("skip", []))]
        self.entries = [e for e in self.entries if e.engine in (None, engine)]
        seen = set()
        for e in self.entries:
            if (e.unit, e.test) in seen:
                raise SkipError(f"skips.toml: {e} is listed twice")
            seen.add((e.unit, e.test))
            if e.needs and e.needs not in self.later:
                raise SkipError(f"skips.toml: {e}: needs = {e.needs!r} is not among [later]")

    def find(self, unit, test):
        """The entry for this test, or None. It counts as used from now on."""
        for e in self.entries:
            if e.matches(unit, test):
                e.used = True
                return e
        return None

    def not_run(self, unit):
        """Names (or glob patterns) of the tests of this unit that are not even run."""
        return [e.test for e in self.entries if e.unit == unit and not e.run]

    def stale(self, units):
        """Entries for the units that ran in full, that matched no test."""
        return [e for e in self.entries if e.unit in units and not e.used and not e.absent]

    def absent(self, unit):
        """How many tests of this unit the suite itself left out in the run just judged."""
        return sum(e.unit == unit and e.absent and not e.used for e in self.entries)
