"""A program that draws pages: one JSON line for each request on standard input, as docs/pages.md has it."""

import json
import sys

count = 0
for line in sys.stdin:
    if not line.startswith("{"):
        print("got", line, end="", flush=True)
        continue
    request = json.loads(line)
    if request["path"] == "/silent":
        continue
    if request["path"] == "/large":
        print("x" * 800_000, flush=True)
        continue
    count += 1
    body = f"<h1>Page {request['path']}</h1><p id=n>{count} {request['query']}</p><a href=deep/er>further</a>"
    body += "<form action=found><input name=q value=cat><button>Find</button></form>"
    body += "<script>try { document.title = parent.document.title } catch { document.title = 'shut in' };"
    body += "const tell = (text) => document.body.append(text);"
    body += "fetch('/v1/sessions').then(() => tell('leak'), () => tell('no way'));</script>"
    answer = {"ptybridge": "answer", "id": request["id"], "body": body, "head": "<style>h1 { color: teal }</style>"}
    print("a line between", flush=True)
    print(json.dumps(answer), flush=True)
