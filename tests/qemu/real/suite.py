# Runs one module of python's own test suite and says of each test what became of it, in lines that begin with "@@ ".
import importlib, os, sys, unittest
from test import support

# Nothing that needs a network, a sound card or minutes of processor time.
support.use_resources = ["subprocess"]
support.verbose = 0
out = os.fdopen(os.dup(1), "w", buffering=1)

class Result(unittest.TestResult):
    def say(self, word, test):
        print("@@", word, test.id().removeprefix("test.") if hasattr(test, "id") else test, file=out)
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

module, wanted = sys.argv[1], sys.argv[2:]
loader = unittest.TestLoader()
loader.testNamePatterns = wanted or None
try:
    suite = loader.loadTestsFromModule(importlib.import_module("test." + module))
except unittest.SkipTest as why:
    print("@@ end skipped:", why, file=out)
    os._exit(0)
suite.run(Result())
print("@@ end", file=out)
# Threads that a failed test left behind are no reason to wait.
sys.stdout.flush(); os._exit(0)
