"""Compiles OCI seccomp profiles to BPF with the system's libseccomp, as runc does.

Standard input has one JSON object a line: {"profile": ..., "caps": [...], "kernel": [6, 1]}. For each, one JSON object is printed:
{"bpf": "hex of struct sock_filter[]", "unknown": [names that this libseccomp does not have]} or {"refused": "why"}.
Nothing of Cordon is used here: this is the other opinion.
"""

import ctypes
import ctypes.util
import errno
import json
import os
import sys
import tempfile

# seccomp.h
ACTIONS = {
    "SCMP_ACT_KILL": 0x00000000,
    "SCMP_ACT_KILL_THREAD": 0x00000000,
    "SCMP_ACT_KILL_PROCESS": 0x80000000,
    "SCMP_ACT_TRAP": 0x00030000,
    "SCMP_ACT_ERRNO": 0x00050000,
    "SCMP_ACT_NOTIFY": 0x7FC00000,
    "SCMP_ACT_TRACE": 0x7FF00000,
    "SCMP_ACT_LOG": 0x7FFC0000,
    "SCMP_ACT_ALLOW": 0x7FFF0000,
}
WITH_VALUE = {"SCMP_ACT_ERRNO", "SCMP_ACT_TRACE"}
OPERATORS = {
    "SCMP_CMP_NE": 1,
    "SCMP_CMP_LT": 2,
    "SCMP_CMP_LE": 3,
    "SCMP_CMP_EQ": 4,
    "SCMP_CMP_GE": 5,
    "SCMP_CMP_GT": 6,
    "SCMP_CMP_MASKED_EQ": 7,
}


class Comparison(ctypes.Structure):
    """struct scmp_arg_cmp"""

    _fields_ = [
        ("arg", ctypes.c_uint),
        ("op", ctypes.c_int),
        ("a", ctypes.c_uint64),
        ("b", ctypes.c_uint64),
    ]


library = ctypes.CDLL(ctypes.util.find_library("seccomp") or "libseccomp.so.2")
library.seccomp_init.restype = ctypes.c_void_p
library.seccomp_init.argtypes = [ctypes.c_uint32]
library.seccomp_release.argtypes = [ctypes.c_void_p]
library.seccomp_export_bpf.argtypes = [ctypes.c_void_p, ctypes.c_int]
library.seccomp_rule_add_array.argtypes = [
    ctypes.c_void_p,
    ctypes.c_uint32,
    ctypes.c_int,
    ctypes.c_uint,
    ctypes.POINTER(Comparison),
]


class Refused(Exception):
    pass


def action(name, value):
    number = ACTIONS[name]
    return number | (1 if value is None else value) if name in WITH_VALUE else number


def applies(entry, caps, kernel):
    """Docker's conditions on where an entry counts."""
    old_enough = lambda text: tuple(int(part) for part in text.split(".")[:2]) <= tuple(kernel)
    excludes, includes = entry.get("excludes") or {}, entry.get("includes") or {}
    if "amd64" in (excludes.get("arches") or []) or set(excludes.get("caps") or []) & caps:
        return False
    if excludes.get("minKernel") and old_enough(excludes["minKernel"]):
        return False
    if includes.get("arches") and "amd64" not in includes["arches"]:
        return False
    if set(includes.get("caps") or []) - caps:
        return False
    return not includes.get("minKernel") or old_enough(includes["minKernel"])


def add(context, verdict, number, comparisons):
    array = (Comparison * max(1, len(comparisons)))(*comparisons)
    result = library.seccomp_rule_add_array(context, verdict, number, len(comparisons), array)
    if result != 0:
        raise Refused(f"call {number}: {errno.errorcode.get(-result, result)}")


def add_entry(context, entry, default, unknown):
    verdict = action(entry["action"], entry.get("errnoRet"))
    if verdict == default:
        return
    comparisons = [
        Comparison(arg["index"], OPERATORS[arg["op"]], arg["value"], arg.get("valueTwo", 0))
        for arg in entry.get("args") or []
    ]
    twice = len({comparison.arg for comparison in comparisons}) < len(comparisons)
    for name in (entry.get("names") or []) + ([entry["name"]] if entry.get("name") else []):
        number = library.seccomp_syscall_resolve_name(name.encode())
        if number == -1:
            unknown.add(name)
        elif twice:
            for comparison in comparisons:
                add(context, verdict, number, [comparison])
        else:
            add(context, verdict, number, comparisons)


def compile_profile(case):
    profile = case["profile"]
    default = action(profile["defaultAction"], profile.get("defaultErrnoRet"))
    context, unknown = library.seccomp_init(default), set()
    if not context:
        raise Refused("seccomp_init")
    try:
        for entry in profile.get("syscalls") or []:
            if applies(entry, set(case["caps"]), case["kernel"]):
                add_entry(context, entry, default, unknown)
        with tempfile.TemporaryFile() as file:
            result = library.seccomp_export_bpf(context, file.fileno())
            if result != 0:
                raise Refused(f"seccomp_export_bpf: {os.strerror(-result)}")
            file.seek(0)
            return {"bpf": file.read().hex(), "unknown": sorted(unknown)}
    finally:
        library.seccomp_release(context)


for line in sys.stdin:
    try:
        print(json.dumps(compile_profile(json.loads(line))))
    except Refused as why:
        print(json.dumps({"refused": str(why)}))
