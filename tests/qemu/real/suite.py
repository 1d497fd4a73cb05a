# Runs modules of python's own test suite and says of each test what became of it, in lines that begin with "@@ ". Each module has a
# process of its own, forked from this one: what it breaks is broken for it alone, and what most need is loaded once.
# Arguments: modules, and behind a `-` the names of tests to be left out.
import asyncio, email.message, http.client, importlib, os, shutil, ssl, subprocess, sys, tempfile, unittest, unittest.mock
from test import support
from test.support import os_helper, socket_helper, threading_helper

# Nothing that needs a network, a sound card or minutes of processor time.
support.use_resources = ["subprocess"]
support.verbose = 0
out = os.fdopen(os.dup(1), "w", buffering=1)
left_out = {name[1:] for name in sys.argv[1:] if name.startswith("-")}

def name_of(test):
    return test.id().removeprefix("test.") if hasattr(test, "id") else test

def kept(tests):
    for test in tests:
        if isinstance(test, unittest.TestSuite): yield from kept(test)
        elif name_of(test) not in left_out: yield test

class Result(unittest.TestResult):
    def say(self, word, test): print("@@", word, name_of(test), file=out)
    def addSuccess(self, test): self.say("ok", test)
    def addSkip(self, test, why): self.say("skip", test)
    def addExpectedFailure(self, test, error): self.say("ok", test)
    def addUnexpectedSuccess(self, test): self.say("fail", test)
    def addFailure(self, test, error): self.bad(test, error)
    def addError(self, test, error): self.bad(test, error)
    def addSubTest(self, test, sub, error):
        if error: self.bad(test, error)
    def bad(self, test, error):
        self.say("fail", test)
        print("@@ why", " ".join(f"{error[0].__name__}: {error[1]}".split())[:300], file=out)

def run(module):
    try:
        suite = unittest.TestLoader().loadTestsFromModule(importlib.import_module("test." + module))
    except unittest.SkipTest as why:
        print("@@ end", module, "skipped:", why, file=out)
        return
    unittest.TestSuite(kept(suite)).run(Result())
    print("@@ end", module, file=out)

for module in sys.argv[1:]:
    if module.startswith("-"): continue
    child = os.fork()
    if not child:
        run(module)
        # Threads that a failed test left behind are no reason to wait.
        sys.stdout.flush(); os._exit(0)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if status: print(f"@@ died {module}: {status}", file=out)
