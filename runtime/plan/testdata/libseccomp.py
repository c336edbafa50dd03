# Compiles profiles with libseccomp: a line of JSON in, a line of JSON out.
import json
import sys
import tempfile

import seccomp

OPERATORS = {
    "SCMP_CMP_EQ": seccomp.EQ, "SCMP_CMP_NE": seccomp.NE, "SCMP_CMP_LT": seccomp.LT, "SCMP_CMP_LE": seccomp.LE,
    "SCMP_CMP_GT": seccomp.GT, "SCMP_CMP_GE": seccomp.GE, "SCMP_CMP_MASKED_EQ": seccomp.MASKED_EQ,
}


def action(name, errno):
    return {
        "SCMP_ACT_KILL": seccomp.KILL, "SCMP_ACT_KILL_THREAD": seccomp.KILL, "SCMP_ACT_KILL_PROCESS": seccomp.KILL_PROCESS,
        "SCMP_ACT_TRAP": seccomp.TRAP, "SCMP_ACT_ALLOW": seccomp.ALLOW, "SCMP_ACT_LOG": seccomp.LOG,
        "SCMP_ACT_ERRNO": seccomp.ERRNO(errno), "SCMP_ACT_TRACE": seccomp.TRACE(errno),
    }[name]


def argument(a):
    if a["op"] == "SCMP_CMP_MASKED_EQ":
        return seccomp.Arg(a["index"], OPERATORS[a["op"]], a["value"], a.get("valueTwo", 0))
    return seccomp.Arg(a["index"], OPERATORS[a["op"]], a["value"])


def compile(profile):
    default = action(profile["defaultAction"], profile.get("defaultErrnoRet", 1))
    f = seccomp.SyscallFilter(defaction=default)
    for arch in profile.get("architectures", []):
        a = seccomp.Arch(getattr(seccomp.Arch, arch.removeprefix("SCMP_ARCH_")))
        if not f.exist_arch(a):
            f.add_arch(a)
    unknown = []
    for rule in profile.get("syscalls", []):
        what = action(rule["action"], rule.get("errnoRet", 1))
        if what == default:
            continue
        args = [argument(a) for a in rule.get("args") or []]
        twice = len({a["index"] for a in rule.get("args") or []}) < len(args)
        for name in rule["names"]:
            number = seccomp.resolve_syscall(seccomp.Arch.NATIVE, name)
            if number == -1:
                unknown.append(name)
                continue
            # As runc does: an argument twice means alternatives.
            for one in ([[a] for a in args] if twice else [args]):
                f.add_rule(what, number, *one)
    with tempfile.TemporaryFile() as out:
        f.export_bpf(out)
        out.seek(0)
        return {"code": out.read().hex(), "unknown": unknown}


for line in sys.stdin:
    try:
        answer = compile(json.loads(line))
    except Exception as e:
        answer = {"error": repr(e)}
    print(json.dumps(answer), flush=True)
