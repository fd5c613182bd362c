"""A verifier of journal directories by somebody who has only read docs/format.md; no code of the package."""

import hashlib
import json
from datetime import datetime
from decimal import Decimal

TOP = dict.fromkeys(["@timestamp", "event_name", "level", "logger", "message", "prev_hash", "stream", "hash"], str)
TOP |= {"audit": dict, "data": dict, "otel": dict, "seq": int}
AUDIT = "action actor altered category changes data_subject decision outcome phase reason request session source "
AUDIT = {*(AUDIT + "target targets tenant version").split(" ")}
LOSSES, ELSEWHERE = {"audit.gap", "audit.pipeline.degraded", "audit.suppressed"}, {"sink failing", "anchor failing"}


def jcs(v):
    if isinstance(v, dict):
        return f"{{{','.join(f'{jcs(k)}:{jcs(v[k])}' for k in sorted(v, key=lambda k: k.encode('utf-16-be')))}}}"
    if isinstance(v, list):
        return f"[{','.join(map(jcs, v))}]"
    if isinstance(v, float) and (1e-6 <= abs(v) < 1e21 or v == 0):
        return f"{Decimal(repr(v or 0)).normalize():f}"
    return repr(v).replace("e-0", "e-") if isinstance(v, float) else json.dumps(v, ensure_ascii=False)


def read(line):
    r = json.loads(line.decode(), parse_int=lambda n: int(n) if abs(float(n)) < 2**53 else float(n))
    body = jcs({k: v for k, v in r.items() if k != "hash"}).encode()  # a member that stands twice comes out once
    assert line == body[:-1] + b',"hash":"%b"}' % hashlib.sha256(b"\0" + body).hexdigest().encode()
    assert all([*(type(v) is TOP[k] for k, v in r.items()), {"action", "actor", "outcome"} <= {*r["audit"]} <= AUDIT])
    return r | {"at": datetime.fromisoformat(r["@timestamp"][:26])}


def walk(paths):
    streams, junk, ends, links, cuts, heads, gone = {}, {}, {}, [], set(), set(), set("" if paths else "-")
    for path in paths:
        own, data, start, last = path.name[:32], path.read_bytes(), 0, None
        assert path.name == f"{own}.{int(path.name[33:-6]) or -1:06}.jsonl"
        s = streams.setdefault(own, {"hash": None, "seq": 0, "closed": False, "hashes": {}, "at": datetime.min})
        assert b"\n" not in junk.pop(own, (0, b""))[1]  # a failed write may leave half a line, a new segment repeats it
        while end := data.find(b"\n", start) + 1:
            try:
                r = read(data[start : end - 1][: 2**20 - 1])
            except Exception:
                break  # this, and whatever stands behind it, must be a torn tail that was declared
            n, event, said, start = r["seq"], r["event_name"], r.get("data", {}), end
            if s["hashes"].get(n) == r["hash"] and last in {None, n - 1} and (last := n) and not gone.add("repeat"):
                continue  # a segment may begin with the end of the one before, if the writer had to start over
            if s["seq"] == 0 and n > 1 and not heads.add((own, n - 1, r["prev_hash"])):
                s |= {"seq": n - 1, "hash": r["prev_hash"]}
            assert (n, r.get("prev_hash"), r["stream"], s["closed"]) == (s["seq"] + 1, s["hash"], own, False)
            assert ((n == 1) == (event == "audit.stream.open"), last in {None, s["seq"]}) == (True, True)
            gone |= {event} & LOSSES if said.get("cause") not in ELSEWHERE else set()
            gone |= {"clock"} if (s["at"] - r["at"]).total_seconds() > 5 else set()
            s |= {"seq": n, "hash": r["hash"], "closed": event == "audit.stream.close", "at": r["at"]}
            s["hashes"][n], last = r["hash"], n
            if event == "audit.stream.open" and said["format"] != 1:
                return "unverifiable"
            ends |= {each["stream"]: each for each in said["previous"]} if n == 1 else {}
            links += [said["parent"]] if n == 1 and "parent" in said else []
            gone |= {said["child"]} if event == "audit.stream.fork" else set()
            streams |= {c: {"seq": 0, "closed": c not in streams} for c in said.get("never_opened", []) if s["closed"]}
            cuts |= {(said["stream"], said["last_seq"], said["last_hash"])} if event == "audit.prune" else set()
        junk |= {own: (start, data[start:], path.name)} if data[start:] else {}
        gone |= {path.name} if data[start:] or not data else set()
    for own, (start, rest, name) in junk.items():
        found = {"segment": name, "offset": start, "length": len(rest), "sha256": hashlib.sha256(rest).hexdigest()}
        assert ends.get(own, {}).get("torn") == found or not (b"\n" in rest or own in ends or streams[own]["closed"])
    for own, said in ends.items():
        assert own not in streams or all(streams[own][k] == said.get(k) for k in ("seq", "hash", "closed"))
    heads |= {(own, said["seq"], said["hash"]) for own, said in ends.items() if own not in streams}
    old = [p for p in links if any(p["stream"] == own and p["seq"] < seq for own, seq, _ in cuts)]
    assert all([heads <= cuts, *(p["hash"] == streams[p["stream"]]["hashes"][p["seq"]] for p in links if p not in old)])
    return "incomplete" if gone - {*streams} or heads or old or not all(s["closed"] for s in streams.values()) else ""


def verdict(directory):
    try:
        return walk(sorted(directory.glob("*.jsonl"))) or "intact"
    except Exception:
        return "tampered"
